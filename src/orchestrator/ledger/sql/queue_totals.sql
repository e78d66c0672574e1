-- What waits, runs and died, by worker type: for status lines and health.
SELECT j.worker_type, sum(j.queued)::bigint AS queued, sum(j.running)::bigint AS running
FROM jobs j WHERE j.status IN ('queued', 'processing') GROUP BY j.worker_type
