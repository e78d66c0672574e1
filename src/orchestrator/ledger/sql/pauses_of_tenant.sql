-- What holds a tenant's work back: itself, its jobs, and what holds everybody's back.
SELECT p.* FROM pauses p
WHERE p.scope IN ('type', 'queue') OR (p.scope = 'tenant' AND p.name = $1)
    OR (p.scope = 'job' AND EXISTS (SELECT FROM jobs j WHERE j.job_id = p.name AND j.tenant = $1))
ORDER BY p.at DESC, p.scope, p.name
