UPDATE outbox SET next_seq = $2 WHERE id = $1
