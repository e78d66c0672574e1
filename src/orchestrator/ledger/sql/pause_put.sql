-- Hold something back, and write who did it; who did it last, and why, is kept. No row when it is a job that has ended, or
-- none: the lock makes a job that ends right now end before or after, and its pause with it.
WITH live AS (
    SELECT job_id FROM jobs WHERE $1 = 'job' AND job_id = $2 AND status IN ('queued', 'processing') FOR NO KEY UPDATE
), held AS (
    INSERT INTO pauses (scope, name, reason, by)
    SELECT $1, $2, $3, $4 WHERE $1 <> 'job' OR EXISTS (SELECT FROM live)
    ON CONFLICT (scope, name) DO UPDATE SET reason = excluded.reason, by = excluded.by
    RETURNING *
), written AS (
    INSERT INTO audit (actor, tenant, action, target, detail)
    SELECT $4, $5, 'pause', $1 || '/' || $2, jsonb_build_object('reason', $3::text) FROM held
)
SELECT * FROM held
