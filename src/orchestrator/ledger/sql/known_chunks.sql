-- Which of these chunks exist.
SELECT c.job_id, c.chunk_id
FROM unnest($1::text[], $2::text[]) AS a (job_id, chunk_id)
JOIN chunks c ON c.job_id = a.job_id AND c.chunk_id = a.chunk_id
