-- ... and the chunks themselves, of jobs that have not ended; seen twice, written once.
INSERT INTO chunks (job_id, chunk_id, seq, content, source_uri, metadata)
SELECT x.job_id, x.chunk_id, j.seen + x.n::int - 1, x.content, x.source_uri, x.metadata
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::jsonb[])
    WITH ORDINALITY AS x (job_id, chunk_id, content, source_uri, metadata, n)
JOIN jobs j ON j.job_id = x.job_id AND j.status IN ('queued', 'processing')
ON CONFLICT DO NOTHING
