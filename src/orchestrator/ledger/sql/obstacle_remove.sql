DELETE FROM obstacles WHERE host = $1 AND worker_type = $2
