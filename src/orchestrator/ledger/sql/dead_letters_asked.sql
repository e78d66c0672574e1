-- What is to be put back at the present queue of a type, and nobody is at. Two letters may be of one message.
SELECT id, receipt FROM dead_letters WHERE worker_type = $1 AND queue = $2 AND status = 'retrying'
ORDER BY receipt, id
LIMIT $3
FOR NO KEY UPDATE SKIP LOCKED
