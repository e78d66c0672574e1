-- Which of these chunks exist. One that is still queued was not claimed because something holds it back; or it was given
-- back only now, by another entry.
SELECT c.job_id, c.chunk_id, c.status = 'queued' AS held_back
FROM unnest($1::text[], $2::text[]) AS a (job_id, chunk_id)
JOIN chunks c ON c.job_id = a.job_id AND c.chunk_id = a.chunk_id
