-- What a job waits beside in its queue, of its band $3 and higher ones, by tenant: the largest first. What is held back, and
-- jobs whose time has not come, are in nobody's way.
SELECT j.tenant, sum(j.queued + j.running)::bigint AS chunks
FROM jobs j
WHERE j.queue = $2 AND j.job_id <> $1 AND j.status IN ('queued', 'processing')
    AND (j.not_before IS NULL OR j.not_before <= clock_timestamp())
    AND array_position('{high,normal,low}'::text[], j.priority) <= array_position('{high,normal,low}'::text[], $3)
    AND NOT EXISTS (
        SELECT FROM pauses p WHERE (p.scope, p.name) IN (
            ('type', j.worker_type), ('queue', j.queue), ('tenant', j.tenant), ('job', j.job_id)
        )
    )
GROUP BY j.tenant
HAVING sum(j.queued + j.running) > 0
ORDER BY chunks DESC, j.tenant
LIMIT 5
