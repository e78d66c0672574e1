-- An entry that is no chunk of ours: malformed, or of a job that has ended. Once an entry.
INSERT INTO dead_letters (worker_type, queue, receipt, reason, payload)
SELECT $1, $2, x.receipt, x.reason, x.payload
FROM unnest($3::text[], $4::text[], $5::jsonb[]) AS x (receipt, reason, payload)
ON CONFLICT DO NOTHING
