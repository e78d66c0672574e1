-- The oldest job that is not all on its stream, or one job of the caller's; another relay's is passed over.
SELECT id, job_id, queue, next_seq FROM outbox
WHERE $1::text IS NULL OR job_id = $1
ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
