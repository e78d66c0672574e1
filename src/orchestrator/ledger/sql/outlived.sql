-- Hand-outs whose worker lost the lease and lived on: no deaths, so they no longer count towards poison. Never fewer than the
-- runs that came to an end, and the one that is under way.
UPDATE chunks c
SET deliveries = greatest(c.deliveries - 1, c.attempts + (c.status = 'running')::int)
FROM unnest($1::text[], $2::text[]) AS a (job_id, chunk_id)
WHERE c.job_id = a.job_id AND c.chunk_id = a.chunk_id AND c.status IN ('queued', 'running')
