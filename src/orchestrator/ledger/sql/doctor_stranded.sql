-- Running chunks of a type whose worker is gone, as stranded_chunks would put back.
SELECT count(*) FROM chunks c JOIN jobs j ON j.job_id = c.job_id
WHERE j.worker_type = $1 AND j.status IN ('queued', 'processing') AND c.status = 'running'
    AND c.started_at < clock_timestamp() - $2 * interval '1 second'
    AND pg_postmaster_start_time() < clock_timestamp() - $2 * interval '1 second'
    AND NOT EXISTS (
        SELECT FROM workers w WHERE w.consumer = c.consumer AND w.stopped_at IS NULL
            AND w.seen_at > clock_timestamp() - $2 * interval '1 second' AND w.started_at <= c.started_at
    )
