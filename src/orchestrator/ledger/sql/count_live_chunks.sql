-- How many chunks of a type's queue Redis must hold an entry for: all seen that have not ended, and are dispatched.
SELECT coalesce(sum(j.seen - j.processed - j.failed - j.cancelled), 0)::bigint
FROM jobs j
WHERE j.worker_type = $1 AND j.queue = $2 AND j.status IN ('queued', 'processing')
    AND NOT EXISTS (SELECT FROM outbox o WHERE o.job_id = j.job_id)
