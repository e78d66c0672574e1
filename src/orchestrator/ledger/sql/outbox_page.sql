SELECT c.chunk_id, c.seq, j.workspace, c.status = 'queued' AS queued
FROM chunks c JOIN jobs j ON j.job_id = c.job_id
WHERE c.job_id = $1 AND c.seq >= $2 ORDER BY c.seq LIMIT $3
