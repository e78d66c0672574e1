-- Who has chunks of a job in hand, when he was last heard of, and his step if it is of this job. A worker begun again since
-- does not have them any more.
SELECT c.consumer, count(*) AS chunks, min(c.started_at) AS since, CASE WHEN w.step_job = $1 THEN w.step ELSE '' END AS step,
    w.seen_at,
    coalesce(w.stopped_at IS NOT NULL OR w.started_at > max(c.started_at), false) AS gone
FROM chunks c LEFT JOIN workers w ON w.consumer = c.consumer
WHERE c.job_id = $1 AND c.status = 'running'
GROUP BY c.consumer, w.consumer
ORDER BY since
LIMIT 20
