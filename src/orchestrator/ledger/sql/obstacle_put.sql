INSERT INTO obstacles (host, worker_type, what, credentials) VALUES ($1, $2, $3, $4)
ON CONFLICT (host, worker_type) DO UPDATE
SET what = excluded.what, credentials = excluded.credentials, said_at = clock_timestamp()
