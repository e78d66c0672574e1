-- What else is in a job's queue, by tenant: the largest first. Jobs whose time has not come are left out.
SELECT j.tenant, sum(j.queued + j.running)::bigint AS chunks
FROM jobs j
WHERE j.queue = $2 AND j.job_id <> $1 AND j.status IN ('queued', 'processing')
    AND (j.not_before IS NULL OR j.not_before <= clock_timestamp())
GROUP BY j.tenant
HAVING sum(j.queued + j.running) > 0
ORDER BY chunks DESC, j.tenant
LIMIT 5
