-- The heartbeat of a process: one row a consumer. A restart begins a new life.
INSERT INTO workers (consumer, host, worker_type, pid, version, tasks_processed, busy, chunks_per_second, step, step_job)
SELECT x.consumer, $1, $2, $3, $4, x.tasks, x.busy, x.rate, x.step, x.step_job
FROM unnest($5::text[], $6::bigint[], $7::int[], $8::float8[], $9::text[], $10::text[])
    AS x (consumer, tasks, busy, rate, step, step_job)
ON CONFLICT (consumer) DO UPDATE SET
    started_at = CASE WHEN workers.pid = excluded.pid THEN workers.started_at ELSE clock_timestamp() END,
    host = excluded.host, worker_type = excluded.worker_type, pid = excluded.pid, version = excluded.version,
    seen_at = clock_timestamp(), stopped_at = NULL, tasks_processed = excluded.tasks_processed, busy = excluded.busy,
    chunks_per_second = excluded.chunks_per_second, step = excluded.step, step_job = excluded.step_job
