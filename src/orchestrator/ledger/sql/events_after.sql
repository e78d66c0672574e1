-- Events after a seq and up to another, in order; NULL means no bound, every tenant.
SELECT seq, job_id, tenant, type, data, at FROM events
WHERE seq > $1 AND seq <= coalesce($2, 9223372036854775807) AND ($3::text IS NULL OR tenant = $3)
ORDER BY seq LIMIT $4
