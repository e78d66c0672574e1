-- What dead chunks mean for their job, and what becomes of dead letters.

ALTER TABLE dead_letters ADD COLUMN retried_as text;  -- the job that a retried chunk went into

CREATE INDEX dead_letters_of_job ON dead_letters (job_id) WHERE job_id IS NOT NULL;

-- Whether so many chunks are dead that the policy gives the job up: what has not ended is cancelled then.
CREATE FUNCTION job_is_lost(job jobs) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE job.failure_policy
        WHEN 'fail_fast' THEN job.failed > 0
        WHEN 'threshold' THEN job.failed > job.max_failed
        ELSE false
    END
$$;

-- What a job's state is, given its counters (X-13, X-15, X-19): integers compared, never percentages.
CREATE OR REPLACE FUNCTION job_status_of(job jobs) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN job.status IN ('completed', 'failed', 'cancelled') THEN job.status
        WHEN job.declared AND job.processed + job.failed + job.cancelled = job.chunks_total THEN
            CASE
                WHEN CASE job.failure_policy
                    WHEN 'threshold' THEN job.failed > job.max_failed
                    WHEN 'best_effort' THEN job.failed > 0 AND job.processed + job.cancelled = 0
                    ELSE job.failed > 0
                END THEN 'failed'
                WHEN job.cancelled > 0 THEN 'cancelled'
                ELSE 'completed'
            END
        WHEN job.started_at IS NOT NULL THEN 'processing'
        ELSE 'queued'
    END
$$;

-- Cancel what a lost job has left. The caller holds the job's row. A chunk that another transaction holds is passed over:
-- that one is on its way to the job's row, waits there for us, and then finds the job lost and comes here itself. To wait
-- for it would be a deadlock. So the job ends with the last of those in flight, and no chunk outlives it. Whoever never
-- comes to the job's row (rolled back, or a running chunk claimed again) is found by close_quiet_jobs.
CREATE FUNCTION cancel_rest(job jobs) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    before jobs;
    after jobs;
BEGIN
    IF NOT job.declared OR job.seen < job.chunks_total THEN
        -- what an external producer has yet to send is waited for no longer
        SELECT * INTO before FROM jobs WHERE job_id = job.job_id;
        UPDATE jobs SET declared = true, chunks_total = seen, version = version + 1, changed_at = clock_timestamp()
        WHERE job_id = job.job_id RETURNING * INTO after;
        PERFORM settle_job(before, after);  -- it comes back here when there is more to cancel
        RETURN;
    END IF;
    -- the trigger counts these, and ends the job when nothing is left
    UPDATE chunks c
    SET status = 'cancelled', lease_token = NULL, ended_at = clock_timestamp(),
        error = 'cancelled: the job was given up by its policy ' || job.failure_policy
    FROM (
        SELECT job_id, chunk_id FROM chunks
        WHERE job_id = job.job_id AND status IN ('queued', 'running') FOR NO KEY UPDATE SKIP LOCKED
    ) rest
    WHERE c.job_id = rest.job_id AND c.chunk_id = rest.chunk_id;
    -- what it has in the outbox is left to the relay, which finds nothing queued: to remove it could mean to wait for that
END
$$;

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
            'percent_complete', round((after.processed::bigint * 10000 / after.chunks_total) / 100.0, 2)));
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

-- End the jobs of external producers that declared no total: all seen chunks have ended and nothing came for a while. And
-- cancel what a lost job has left when the one that was to do it never came.
CREATE OR REPLACE FUNCTION close_quiet_jobs(quiet interval) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    before jobs;
    after jobs;
    closed int := 0;
BEGIN
    FOR before IN
        SELECT * FROM jobs
        WHERE status IN ('queued', 'processing') AND NOT declared AND seen > 0
            AND processed + failed + cancelled = chunks_total AND changed_at < clock_timestamp() - quiet
        ORDER BY job_id FOR NO KEY UPDATE SKIP LOCKED
    LOOP
        UPDATE jobs SET declared = true, version = version + 1, changed_at = clock_timestamp()
        WHERE job_id = before.job_id RETURNING * INTO after;
        PERFORM settle_job(before, after);
        closed := closed + 1;
    END LOOP;
    FOR before IN
        SELECT * FROM jobs WHERE status IN ('queued', 'processing') AND failed > 0 AND job_is_lost(jobs)
        ORDER BY job_id FOR NO KEY UPDATE SKIP LOCKED
    LOOP
        PERFORM settle_job(before, before);
    END LOOP;
    RETURN closed;
END
$$;
