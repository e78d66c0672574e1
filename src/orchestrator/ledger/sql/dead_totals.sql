SELECT worker_type, count(*) AS dead FROM dead_letters GROUP BY worker_type
