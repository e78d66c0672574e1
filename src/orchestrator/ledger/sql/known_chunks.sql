-- Which of these chunks exist, and how they stand. One that is still queued was not claimed because something holds it
-- back; or it was given back only now, by another entry.
SELECT c.job_id, c.chunk_id, c.status, c.error, c.entities, c.relations, c.duplicate_of, c.result
FROM unnest((SELECT $1::text[]), (SELECT $2::text[])) AS a (job_id, chunk_id)
JOIN chunks c ON c.job_id = a.job_id AND c.chunk_id = a.chunk_id
