-- Put every active job of a queue into the outbox again: its queued chunks get new entries; duplicates are harmless.
INSERT INTO outbox (job_id, queue)
SELECT j.job_id, j.queue FROM jobs j
WHERE j.worker_type = $1 AND j.queue = $2 AND j.status IN ('queued', 'processing')
    AND j.seen > j.processed + j.failed + j.cancelled + j.running
    AND NOT EXISTS (SELECT FROM outbox o WHERE o.job_id = j.job_id)
