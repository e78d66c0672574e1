-- Settle a batch in which every chunk was processed and nothing was counted: what settle_chunks does, for less.
WITH asked AS (
    SELECT * FROM unnest(string_to_array((SELECT $1), E'\x1f'), string_to_array((SELECT $2), E'\x1f'),
        string_to_array((SELECT $3), E'\x1f')::bigint[])
        AS x (job_id, chunk_id, token)
), done AS (
    UPDATE chunks c
    SET status = 'processed', attempts = c.attempts + 1, lease_token = NULL, receipt = NULL, error = NULL,
        ended_at = clock_timestamp()
    FROM asked a
    WHERE c.job_id = a.job_id AND c.chunk_id = a.chunk_id AND c.status = 'running' AND c.lease_token = a.token
    RETURNING c.job_id, c.chunk_id
)
SELECT a.job_id, a.chunk_id, (SELECT c.status FROM chunks c WHERE c.job_id = a.job_id AND c.chunk_id = a.chunk_id)
FROM asked a
WHERE NOT EXISTS (SELECT FROM done d WHERE d.job_id = a.job_id AND d.chunk_id = a.chunk_id)
