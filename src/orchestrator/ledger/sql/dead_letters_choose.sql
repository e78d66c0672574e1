-- Lock the dead letters that are asked for, oldest first; whoever asks at the same time waits, and then finds them no
-- longer dead. What waits to be put back at its queue can be dropped, too. With $5 only those that can be retried by us:
-- chunks, and entries of which everything was kept, of no type in $7.
SELECT l.id, l.queue, l.job_id, l.chunk_id, l.receipt
FROM dead_letters l LEFT JOIN jobs j ON j.job_id = l.job_id
WHERE (l.status = 'dead' OR (l.status = 'retrying' AND NOT $5::boolean))
    AND ($1::bigint[] IS NULL OR l.id = ANY ($1)) AND ($2::text IS NULL OR l.job_id = $2)
    AND ($3::text IS NULL OR l.worker_type = $3) AND ($4::text IS NULL OR j.tenant = $4)
    AND (NOT $5::boolean OR (
        NOT l.worker_type = ANY ($7::text[]) AND (l.job_id IS NOT NULL OR l.payload @> '{"whole": true}')
    ))
ORDER BY l.id
LIMIT $6
FOR NO KEY UPDATE OF l
