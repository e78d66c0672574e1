-- Let a held chunk's present hand-out count, or not yet: what waits to be run alone does not. Again changes nothing.
UPDATE chunks SET deliveries = deliveries + $4::boolean::int - counted::int, counted = $4
WHERE job_id = $1 AND chunk_id = $2 AND lease_token = $3 AND status = 'running'
