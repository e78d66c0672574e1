-- Newest first, after the cursor (created_at, job_id).
SELECT * FROM jobs
WHERE ($1::text IS NULL OR tenant = $1) AND ($2::text IS NULL OR status = $2)
    AND ($3::timestamptz IS NULL OR (created_at, job_id) < ($3, $4::text))
ORDER BY created_at DESC, job_id DESC
LIMIT $5
