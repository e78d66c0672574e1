-- How many chunks of a type's queue Redis must hold an entry for: those dispatched that have not ended, whether they wait,
-- run, or are to be tried again. Of a job in the outbox only a part is dispatched.
SELECT coalesce(sum(greatest(0, coalesce(o.dispatched, j.seen) - j.processed - j.failed - j.cancelled)), 0)::bigint
FROM jobs j LEFT JOIN outbox o ON o.job_id = j.job_id
WHERE j.worker_type = $1 AND j.queue = $2 AND j.status IN ('queued', 'processing')
