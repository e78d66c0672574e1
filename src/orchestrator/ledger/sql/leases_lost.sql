-- Which of these running chunks are no longer ours: cancelled, deleted, or claimed by another.
SELECT x.n
FROM unnest((SELECT $1::text[]), (SELECT $2::text[]), (SELECT $3::bigint[]))
    WITH ORDINALITY AS x (job_id, chunk_id, token, n)
LEFT JOIN chunks c ON c.job_id = x.job_id AND c.chunk_id = x.chunk_id
    AND c.status = 'running' AND c.lease_token = x.token
WHERE c.job_id IS NULL
