-- How often a held chunk was handed out: what waits to be run alone does not count yet.
UPDATE chunks SET deliveries = $4 WHERE job_id = $1 AND chunk_id = $2 AND lease_token = $3 AND status = 'running'
