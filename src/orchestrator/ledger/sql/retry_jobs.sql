-- For each job of which dead chunks are retried a new one like it, with what is left of its budget.
INSERT INTO jobs (
    job_id, tenant, worker_type, queue, workspace, job_type, source_type, chunks_total, metadata,
    priority, failure_policy, max_failed, budget
)
SELECT n.new_id, j.tenant, j.worker_type, j.queue, j.workspace, j.job_type, j.source_type, n.chunks,
    j.metadata || jsonb_build_object('retry_of', j.job_id), j.priority, j.failure_policy, j.max_failed,
    CASE WHEN j.budget IS NOT NULL THEN greatest(j.budget - j.cost, 0) END
FROM unnest($1::text[], $2::text[], $3::int[]) AS n (old_id, new_id, chunks)
JOIN jobs j ON j.job_id = n.old_id
ORDER BY n.new_id
RETURNING *
