-- Hand-outs whose worker lost the lease and lived on: no deaths, so they no longer count towards poison; but $3 times at most, for
-- a chunk that stalls each of its workers for longer than a lease has to end, too. Never are fewer counted than the runs
-- that came to an end, and the one that is under way.
UPDATE chunks c
SET deliveries = greatest(c.deliveries - a.times, c.attempts + (c.status = 'running' AND c.counted)::int),
    outlived = c.outlived + a.times
FROM (
    SELECT x.job_id, x.chunk_id, count(*)::int AS times
    FROM unnest($1::text[], $2::text[]) AS x (job_id, chunk_id) GROUP BY 1, 2
) a
WHERE c.job_id = a.job_id AND c.chunk_id = a.chunk_id AND c.status IN ('queued', 'running') AND c.outlived < $3
