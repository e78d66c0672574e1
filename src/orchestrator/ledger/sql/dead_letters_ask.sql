-- The oldest dead letters that are asked for, of the types in $5, whose queues are not ours: their workers shall put them back.
-- A letter written before receipts were kept cannot be.
WITH asked AS (
    UPDATE dead_letters l
    SET status = 'retrying'
    FROM (
        SELECT l.id, j.tenant
        FROM dead_letters l LEFT JOIN jobs j ON j.job_id = l.job_id
        WHERE l.status = 'dead' AND l.worker_type = ANY ($5::text[]) AND l.receipt IS NOT NULL
            AND ($1::bigint[] IS NULL OR l.id = ANY ($1)) AND ($2::text IS NULL OR l.job_id = $2)
            AND ($3::text IS NULL OR l.worker_type = $3) AND ($4::text IS NULL OR j.tenant = $4)
        ORDER BY l.id
        LIMIT $6
        FOR NO KEY UPDATE OF l
    ) chosen
    WHERE l.id = chosen.id
    RETURNING l.id, l.worker_type, l.job_id, l.chunk_id, chosen.tenant
)
INSERT INTO audit (actor, tenant, action, target, detail)
SELECT $7, a.tenant, 'retry', 'dead-letter/' || a.id, jsonb_strip_nulls(jsonb_build_object(
    'worker_type', a.worker_type, 'job_id', a.job_id, 'chunk_id', a.chunk_id))
FROM asked a
ORDER BY a.id
