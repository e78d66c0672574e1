-- One letter; a NULL tenant sees all. Of a text only its length and, of an entry that is no chunk, how it begins.
SELECT l.id, l.worker_type, l.queue, l.job_id, l.chunk_id, j.tenant, l.status, l.reason, l.attempts, l.deliveries, l.at,
    l.resolved_at, l.retried_as, l.receipt,
    l.status = 'dead' AND (l.job_id IS NOT NULL OR l.payload @> '{"whole": true}') AS retriable,
    CASE WHEN l.payload ? 'content'
        THEN l.payload || jsonb_build_object('content', left(l.payload->>'content', 200)) ELSE l.payload END AS payload,
    length(coalesce(c.content, l.payload->>'content')) AS text_length,
    coalesce(c.source_uri, l.payload->>'source_uri', '') AS source_uri
FROM dead_letters l
LEFT JOIN jobs j ON j.job_id = l.job_id
LEFT JOIN chunks c ON c.job_id = l.job_id AND c.chunk_id = l.chunk_id
WHERE l.id = $1 AND ($2::text IS NULL OR j.tenant = $2)
