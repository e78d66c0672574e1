SELECT worker_type, count(*) AS dead FROM dead_letters WHERE status IN ('dead', 'retrying') GROUP BY worker_type
