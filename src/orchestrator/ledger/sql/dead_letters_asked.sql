-- What is to be put back at the queue of a type, and nobody is at.
SELECT id, receipt FROM dead_letters WHERE worker_type = $1 AND status = 'retrying' ORDER BY id LIMIT $2
FOR NO KEY UPDATE SKIP LOCKED
