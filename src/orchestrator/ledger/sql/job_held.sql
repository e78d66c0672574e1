-- One job and what holds it back, unless it has ended: one row a pause, and one row when there is none. A NULL tenant sees
-- all.
SELECT j.*, p.scope, p.name, p.reason, p.by, p.at
FROM jobs j LEFT JOIN pauses p ON j.status IN ('queued', 'processing') AND (p.scope, p.name) IN (
    ('type', j.worker_type), ('queue', j.queue), ('tenant', j.tenant), ('job', j.job_id)
)
WHERE j.job_id = $1 AND ($2::text IS NULL OR j.tenant = $2)
ORDER BY p.at, p.scope, p.name
