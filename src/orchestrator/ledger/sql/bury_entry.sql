-- An entry that is no chunk of ours: malformed, or of a job that has ended. Once an entry; one that was put back at its queue and
-- is there again as bad as before is dead again.
INSERT INTO dead_letters (worker_type, queue, receipt, reason, payload)
SELECT $1, $2, x.receipt, x.reason, x.payload
FROM unnest($3::text[], $4::text[], $5::jsonb[]) AS x (receipt, reason, payload)
ON CONFLICT (worker_type, queue, receipt) WHERE job_id IS NULL DO UPDATE
SET status = 'dead', resolved_at = NULL, reason = excluded.reason, payload = excluded.payload, at = clock_timestamp()
WHERE dead_letters.status <> 'dead'
