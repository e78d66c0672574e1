-- Claim a batch: each chunk gets the new lease token, and whoever held it before can settle it no more. A running chunk
-- is claimed again only by the same entry (its worker died); a second entry of it is a duplicate. One row an entry.
WITH asked AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS x (job_id, chunk_id, receipt, n)
), taken AS (
    UPDATE chunks c
    SET status = 'running', lease_token = $5, receipt = a.receipt, consumer = $4, deliveries = c.deliveries + 1,
        started_at = clock_timestamp(), due_at = NULL
    FROM asked a
    WHERE c.job_id = a.job_id AND c.chunk_id = a.chunk_id
        AND (c.status = 'queued' OR (c.status = 'running' AND c.receipt = a.receipt))
    RETURNING a.n, c.attempts, c.deliveries, c.content, c.source_uri, c.metadata
)
SELECT a.n, t.n IS NOT NULL AS taken, c.chunk_id IS NOT NULL AS known, t.attempts, t.deliveries, t.content,
    t.source_uri, t.metadata, j.workspace, j.job_type
FROM asked a
LEFT JOIN taken t ON t.n = a.n
LEFT JOIN chunks c ON c.job_id = a.job_id AND c.chunk_id = a.chunk_id
LEFT JOIN jobs j ON j.job_id = a.job_id
ORDER BY a.n
