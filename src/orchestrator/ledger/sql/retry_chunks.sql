-- ... and in it the dead chunks as they were submitted: no attempt, no delivery, no error. The old ones stay dead.
INSERT INTO chunks (job_id, chunk_id, seq, content, source_uri, metadata)
SELECT n.new_id, c.chunk_id, row_number() OVER (PARTITION BY n.new_id ORDER BY c.seq, c.chunk_id) - 1, c.content,
    c.source_uri, c.metadata
FROM unnest($1::text[], $2::text[], $3::text[]) AS n (old_id, new_id, chunk_id)
JOIN chunks c ON c.job_id = n.old_id AND c.chunk_id = n.chunk_id AND c.status = 'failed'
