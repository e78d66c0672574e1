-- How many of the dead letters that are asked for cannot be retried by us.
SELECT count(*)
FROM dead_letters l LEFT JOIN jobs j ON j.job_id = l.job_id
WHERE l.status = 'dead'
    AND (l.worker_type = ANY ($5::text[]) OR (l.job_id IS NULL AND NOT l.payload @> '{"whole": true}'))
    AND ($1::bigint[] IS NULL OR l.id = ANY ($1)) AND ($2::text IS NULL OR l.job_id = $2)
    AND ($3::text IS NULL OR l.worker_type = $3) AND ($4::text IS NULL OR j.tenant = $4)
