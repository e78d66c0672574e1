-- A job with its outbox row, and its chunks where they are few; no row when the tenant has used this idempotency key before.
WITH job AS (
    INSERT INTO jobs (
        job_id, tenant, worker_type, queue, workspace, job_type, source_type, chunks_total, metadata,
        idempotency_key, request_hash, priority, not_before, failure_policy, max_failed, budget
    )
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
    ON CONFLICT (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
    RETURNING *
), enqueued AS (
    INSERT INTO outbox (job_id, queue) SELECT job_id, queue FROM job
), added AS (
    INSERT INTO chunks (job_id, chunk_id, seq, content, source_uri, metadata)
    SELECT job.job_id, x.chunk_id, x.n - 1, x.content, x.source_uri, x.metadata
    FROM job CROSS JOIN unnest($17::text[], $18::text[], $19::text[], $20::jsonb[])
        WITH ORDINALITY AS x (chunk_id, content, source_uri, metadata, n)
)
SELECT * FROM job
