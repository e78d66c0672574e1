-- Jobs whose views are to be written: those changed within the last two minutes, which a worker that died may have kept to
-- itself; and of those that are open and do not change (delayed, paused, behind others) each once in $1 seconds.
(SELECT * FROM jobs WHERE changed_at > clock_timestamp() - interval '2 minutes' ORDER BY changed_at DESC LIMIT 5000)
UNION ALL
(SELECT * FROM jobs
WHERE status IN ('queued', 'processing') AND changed_at <= clock_timestamp() - interval '2 minutes'
    AND extract(epoch FROM clock_timestamp() - changed_at)::bigint % $1 < 120
LIMIT 5000)
