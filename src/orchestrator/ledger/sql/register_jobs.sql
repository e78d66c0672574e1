-- First sight of chunks that an external producer put on the stream: their jobs ...
INSERT INTO jobs (job_id, tenant, worker_type, queue, workspace, job_type, chunks_total, declared)
SELECT job_id, $1, $2, $3, min(workspace), $4, coalesce(max(total), 0), max(total) IS NOT NULL
FROM unnest($5::text[], $6::text[], $7::int[]) AS x (job_id, workspace, total)
GROUP BY job_id
ON CONFLICT DO NOTHING
