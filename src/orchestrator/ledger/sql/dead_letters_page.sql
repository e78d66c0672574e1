-- Newest first, before the cursor (an id); NULL means any. A tenant sees those of its jobs.
SELECT l.id, l.worker_type, l.queue, l.job_id, l.chunk_id, j.tenant, l.status, l.reason, l.attempts, l.deliveries, l.at,
    l.resolved_at, l.retried_as, l.receipt,
    l.status = 'dead' AND (l.job_id IS NOT NULL OR l.payload @> '{"whole": true}') AS retriable
FROM dead_letters l LEFT JOIN jobs j ON j.job_id = l.job_id
WHERE ($1::text IS NULL OR l.status = $1) AND ($2::text IS NULL OR l.worker_type = $2)
    AND ($3::text IS NULL OR l.job_id = $3) AND ($4::text IS NULL OR j.tenant = $4)
    AND ($5::bigint IS NULL OR l.id < $5)
ORDER BY l.id DESC
LIMIT $6
