-- Chunks of a type that wait to be tried again, or did until a moment ago, by the words their error holds.
SELECT w.words, count(*) AS chunks, (array_agg(c.error ORDER BY c.due_at DESC))[1] AS error
FROM jobs j
JOIN chunks c ON c.job_id = j.job_id AND c.status = 'queued' AND c.due_at > clock_timestamp() - $2 * interval '1 second'
JOIN unnest($3::text[]) AS w (words) ON position(w.words IN c.error) > 0
WHERE j.worker_type = $1 AND j.status IN ('queued', 'processing')
GROUP BY w.words
ORDER BY chunks DESC
