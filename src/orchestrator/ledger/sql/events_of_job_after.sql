-- The same of one job: a statement of its own, so that its plan is the index on (job_id, seq).
SELECT seq, job_id, tenant, type, data, at FROM events
WHERE job_id = $5 AND seq > $1 AND seq <= coalesce($2, 9223372036854775807) AND ($3::text IS NULL OR tenant = $3)
ORDER BY seq LIMIT $4
