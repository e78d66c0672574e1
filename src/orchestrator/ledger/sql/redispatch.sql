-- Put every active job of a queue that has dispatched chunks into the outbox from its start: its queued chunks get new
-- entries, and duplicates are harmless. What runs is in somebody's hands, with an entry or without.
INSERT INTO outbox (job_id, queue, dispatched)
SELECT j.job_id, j.queue, j.processed + j.failed + j.cancelled + j.running FROM jobs j
WHERE j.worker_type = $1 AND j.queue = $2 AND j.status IN ('queued', 'processing')
    AND j.seen > j.processed + j.failed + j.cancelled + j.running
ON CONFLICT (job_id) DO UPDATE SET next_seq = 0, dispatched = excluded.dispatched
WHERE outbox.next_seq > 0
