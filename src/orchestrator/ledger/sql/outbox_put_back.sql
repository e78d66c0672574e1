-- Jobs of which queued chunks have lost their entries go back to where the first of these is. What else of them is on the
-- stream is dispatched again too, which is harmless, and counts no more: nobody shall miss it.
INSERT INTO outbox (job_id, queue, next_seq, dispatched)
SELECT j.job_id, j.queue, min(c.seq), j.processed + j.failed + j.cancelled + j.running
FROM unnest($1::text[], $2::text[]) AS a (job_id, chunk_id)
JOIN chunks c ON c.job_id = a.job_id AND c.chunk_id = a.chunk_id AND c.status = 'queued'
JOIN jobs j ON j.job_id = c.job_id AND j.status IN ('queued', 'processing')
GROUP BY j.job_id
ON CONFLICT (job_id) DO UPDATE
SET next_seq = least(outbox.next_seq, excluded.next_seq), dispatched = excluded.dispatched
