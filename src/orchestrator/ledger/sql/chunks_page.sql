-- The chunks of a job in their order, without their text, after the cursor (seq, chunk_id).
SELECT chunk_id, seq, status, source_uri, metadata, attempts, deliveries, consumer, error, entities, relations,
    duplicate_of, started_at, ended_at, due_at
FROM chunks
WHERE job_id = $1 AND ($2::text IS NULL OR status = $2) AND (seq, chunk_id) > ($3::int, $4::text)
ORDER BY seq, chunk_id
LIMIT $5
