-- Which of these chunks exist, and which of them were not claimed because something holds them back.
SELECT c.job_id, c.chunk_id, c.status IN ('queued', 'running') AND EXISTS (
        SELECT FROM pauses p WHERE (p.scope, p.name) IN (
            ('type', j.worker_type), ('queue', j.queue), ('tenant', j.tenant), ('job', j.job_id)
        )
    ) AND (c.status = 'queued' OR c.receipt = a.receipt) AS held_back
FROM unnest($1::text[], $2::text[], $3::text[]) AS a (job_id, chunk_id, receipt)
JOIN chunks c ON c.job_id = a.job_id AND c.chunk_id = a.chunk_id
JOIN jobs j ON j.job_id = c.job_id
