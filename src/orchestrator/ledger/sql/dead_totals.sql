SELECT worker_type, count(*) AS dead FROM dead_letters WHERE status = 'dead' GROUP BY worker_type
