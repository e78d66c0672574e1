-- One job; a NULL tenant sees all.
SELECT * FROM jobs WHERE job_id = $1 AND ($2::text IS NULL OR tenant = $2)
