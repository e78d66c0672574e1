-- Forget an ended job: its chunks go with it, its events too.
WITH gone AS (
    DELETE FROM jobs WHERE job_id = $1 AND status IN ('completed', 'failed', 'cancelled') RETURNING job_id
), letters AS (
    DELETE FROM dead_letters WHERE job_id IN (SELECT job_id FROM gone)
)
DELETE FROM events WHERE job_id IN (SELECT job_id FROM gone)
RETURNING job_id
