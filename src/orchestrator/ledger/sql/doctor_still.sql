-- Jobs of a type that should move and have not for so many seconds, the longest first.
SELECT j.job_id FROM jobs j
WHERE j.worker_type = $1 AND j.status IN ('queued', 'processing')
    AND j.changed_at < clock_timestamp() - $2 * interval '1 second'
    AND (j.not_before IS NULL OR j.not_before < clock_timestamp() - $2 * interval '1 second')
ORDER BY j.changed_at LIMIT 10
