-- How many of the dead letters that are asked for can be retried neither by us nor by the worker of their queue (types in $5).
SELECT count(*)
FROM dead_letters l LEFT JOIN jobs j ON j.job_id = l.job_id
WHERE l.status = 'dead'
    AND CASE WHEN l.worker_type = ANY ($5::text[]) THEN l.receipt IS NULL
        ELSE l.job_id IS NULL AND NOT l.payload @> '{"whole": true}' END
    AND ($1::bigint[] IS NULL OR l.id = ANY ($1)) AND ($2::text IS NULL OR l.job_id = $2)
    AND ($3::text IS NULL OR l.worker_type = $3) AND ($4::text IS NULL OR j.tenant = $4)
