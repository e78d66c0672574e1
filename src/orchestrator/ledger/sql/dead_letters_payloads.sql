SELECT payload FROM dead_letters WHERE id = ANY ($1::bigint[]) ORDER BY id
