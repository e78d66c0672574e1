-- A job without its chunks yet; no row when the tenant has used this idempotency key before.
INSERT INTO jobs (
    job_id, tenant, worker_type, queue, workspace, job_type, source_type, chunks_total, metadata,
    idempotency_key, request_hash, priority, not_before, failure_policy, max_failed, budget
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
ON CONFLICT (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
RETURNING *
