-- Letters are dead no more, and the audit says who did it and what became of them.
WITH resolved AS (
    UPDATE dead_letters l
    SET status = CASE $4::text WHEN 'retry' THEN 'retried' ELSE 'dropped' END,
        resolved_at = clock_timestamp(), retried_as = x.new_id
    FROM unnest($1::bigint[], $2::text[]) AS x (id, new_id)
    WHERE l.id = x.id
    RETURNING l.id, l.worker_type, l.job_id, l.chunk_id, l.retried_as
)
INSERT INTO audit (actor, tenant, action, target, detail)
SELECT $3, j.tenant, $4, 'dead-letter/' || r.id, jsonb_strip_nulls(jsonb_build_object(
    'worker_type', r.worker_type, 'job_id', r.job_id, 'chunk_id', r.chunk_id, 'retried_as', r.retried_as))
FROM resolved r LEFT JOIN jobs j ON j.job_id = r.job_id
ORDER BY r.id
