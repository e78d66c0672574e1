INSERT INTO outbox (job_id, queue) VALUES ($1, $2)
