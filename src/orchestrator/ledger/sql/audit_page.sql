-- Newest first, after the cursor (an id); a NULL tenant sees all.
SELECT id, at, actor, tenant, action, target, detail FROM audit
WHERE ($1::text IS NULL OR tenant = $1) AND ($2::bigint IS NULL OR id < $2)
ORDER BY id DESC
LIMIT $3
