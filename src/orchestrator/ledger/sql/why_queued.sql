-- The queued chunks of a job: ready, or put off; of those put off the first one's time and error.
SELECT count(*) FILTER (WHERE due_at IS NULL OR due_at <= clock_timestamp()) AS ready,
    count(*) FILTER (WHERE due_at > clock_timestamp()) AS later,
    min(due_at) FILTER (WHERE due_at > clock_timestamp()) AS due_at,
    (array_agg(attempts ORDER BY due_at) FILTER (WHERE due_at > clock_timestamp()))[1] AS attempts,
    (array_agg(coalesce(error, '') ORDER BY due_at) FILTER (WHERE due_at > clock_timestamp()))[1] AS error,
    clock_timestamp() AS now
FROM chunks WHERE job_id = $1 AND status = 'queued'
