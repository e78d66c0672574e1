-- What holds these jobs back, if they have not ended.
SELECT j.job_id, p.scope, p.name, p.reason, p.by, p.at
FROM jobs j
JOIN pauses p ON (p.scope, p.name) IN (
    ('type', j.worker_type), ('queue', j.queue), ('tenant', j.tenant), ('job', j.job_id)
)
WHERE j.job_id = ANY ($1::text[]) AND j.status IN ('queued', 'processing')
ORDER BY j.job_id, p.at, p.scope, p.name
