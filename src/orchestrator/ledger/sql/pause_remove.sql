-- Let something go on, and write who did it; one row touched when it was held back.
WITH gone AS (
    DELETE FROM pauses WHERE scope = $1 AND name = $2 RETURNING scope, name
)
INSERT INTO audit (actor, tenant, action, target, detail)
SELECT $3, $4, 'resume', scope || '/' || name, '{}' FROM gone
