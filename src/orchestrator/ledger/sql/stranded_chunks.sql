-- Running chunks whose worker is gone (stopped, or silent for longer than a lease): back to the queue. While PostgreSQL itself
-- was away nobody could be heard: it has to have been there for a lease.
UPDATE chunks c
SET status = 'queued', lease_token = NULL, receipt = NULL
FROM jobs j
WHERE j.job_id = c.job_id AND j.worker_type = $1 AND j.status IN ('queued', 'processing') AND c.status = 'running'
    AND c.started_at < clock_timestamp() - $2 * interval '1 second'
    AND pg_postmaster_start_time() < clock_timestamp() - $2 * interval '1 second'
    AND NOT EXISTS (
        SELECT FROM workers w WHERE w.consumer = c.consumer AND w.stopped_at IS NULL
            AND w.seen_at > clock_timestamp() - $2 * interval '1 second' AND w.started_at <= c.started_at
    )
