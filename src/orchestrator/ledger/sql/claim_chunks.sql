-- Claim a batch: each chunk gets the new lease token, and whoever held it before can settle it no more. A running chunk
-- is claimed again only by the same entry (its worker died); a second entry of it is a duplicate. What is held back does
-- not start; while nothing at all is, no chunk is looked at for it. One row a claimed entry.
--
-- (SELECT $1), here and where else chunks are found by many ids: so the planner does not see how many. If it does, it
-- reads a table that is not large whole instead of by its index, at each of the first five uses of a connection.
WITH taken AS (
    UPDATE chunks c
    SET status = 'running', lease_token = $5, receipt = a.receipt, consumer = a.consumer, deliveries = c.deliveries + 1,
        counted = true, started_at = clock_timestamp(), due_at = NULL
    FROM unnest(string_to_array((SELECT $1), E'\x1f'), string_to_array((SELECT $2), E'\x1f'),
            string_to_array((SELECT $3), E'\x1f'), string_to_array((SELECT $4), E'\x1f'))
        WITH ORDINALITY AS a (job_id, chunk_id, receipt, consumer, n)
    WHERE c.job_id = a.job_id AND c.chunk_id = a.chunk_id
        AND ((c.status = 'running' AND c.receipt = a.receipt) OR (
            c.status = 'queued' AND (NOT EXISTS (SELECT FROM pauses) OR NOT EXISTS (
                SELECT FROM jobs j JOIN pauses p ON (p.scope, p.name) IN (
                    ('type', j.worker_type), ('queue', j.queue), ('tenant', j.tenant), ('job', j.job_id)
                )
                WHERE j.job_id = c.job_id
            ))
        ))
    RETURNING a.n, c.job_id, c.attempts, c.deliveries, c.content, c.source_uri, c.metadata
)
SELECT t.n, t.attempts, t.deliveries, t.content, t.source_uri, t.metadata, j.workspace, j.job_type
FROM taken t JOIN jobs j ON j.job_id = t.job_id
