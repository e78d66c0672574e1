-- While the producer of a job has not declared its total, no chunk is known to be the last: 99.99 % at most. (The rest of the
-- function is that of 0004.)

-- Bring a job's state in line with its counters and append what that means as events.
CREATE OR REPLACE FUNCTION settle_job(before jobs, after jobs) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    next_status text := job_status_of(after);
    ended boolean := next_status IN ('completed', 'failed', 'cancelled');
    now_ timestamptz := clock_timestamp();
BEGIN
    IF before.error_chunk_id IS NULL AND after.error_chunk_id IS NOT NULL THEN
        -- of several that died together: the error of the very chunk that is named
        UPDATE jobs SET error_message = c.error FROM chunks c
        WHERE jobs.job_id = after.job_id AND c.job_id = after.job_id AND c.chunk_id = after.error_chunk_id
        RETURNING jobs.error_message INTO after.error_message;
    END IF;
    IF before.started_at IS NULL AND after.started_at IS NOT NULL THEN
        PERFORM job_event(after, 'started', jsonb_build_object('chunks_total', after.chunks_total));
    END IF;
    IF after.processed > before.processed THEN
        PERFORM job_event(after, 'progress', jsonb_build_object(
            'chunks_processed', after.processed, 'chunks_total', after.chunks_total,
            'percent_complete', round(least(after.processed::bigint * 10000 / after.chunks_total,
                CASE WHEN after.declared THEN 10000 ELSE 9999 END) / 100.0, 2)));
    END IF;
    IF next_status <> after.status THEN
        UPDATE jobs SET status = next_status, completed_at = CASE WHEN ended THEN now_ END WHERE job_id = after.job_id;
        IF ended THEN
            PERFORM job_event(after, next_status, jsonb_strip_nulls(jsonb_build_object(
                'chunks_processed', after.processed, 'chunks_failed', after.failed, 'chunks_cancelled', after.cancelled,
                'chunks_total', after.chunks_total,
                'duration_seconds', round(extract(epoch FROM now_ - coalesce(after.started_at, after.created_at)), 3),
                'failure_policy', nullif(after.failure_policy, 'strict'),
                'error', after.error_message, 'chunk_id', after.error_chunk_id)));
        END IF;
    END IF;
    IF NOT ended AND after.failed > 0 AND job_is_lost(after) THEN
        PERFORM cancel_rest(after);
    END IF;
END
$$;
