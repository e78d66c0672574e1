-- A chunk that is cancelled while it runs keeps the token of its run, which has used models and will say so once: its settle is
-- refused, what it used is not (settle_chunks.sql). The rest of both functions is that of 0001 and 0004.

-- Cancel what has not ended; a handler still at work finds its settle refused. Chunks that an external producer declared and
-- never sent are waited for no longer.
CREATE OR REPLACE FUNCTION cancel_job(target text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    before jobs;
    after jobs;
BEGIN
    UPDATE chunks SET status = 'cancelled', ended_at = clock_timestamp(), error = 'cancelled'
    WHERE job_id = target AND status IN ('queued', 'running');
    SELECT * INTO before FROM jobs WHERE job_id = target AND status IN ('queued', 'processing') FOR NO KEY UPDATE;
    IF FOUND THEN
        UPDATE jobs SET declared = true, chunks_total = seen, version = version + 1, changed_at = clock_timestamp()
        WHERE job_id = target RETURNING * INTO after;
        PERFORM settle_job(before, after);
    END IF;
    DELETE FROM outbox WHERE job_id = target;
END
$$;

-- Cancel what a lost job has left. The caller holds the job's row. A chunk that another transaction holds is passed over:
-- that one is on its way to the job's row, waits there for us, and then finds the job lost and comes here itself. To wait
-- for it would be a deadlock. So the job ends with the last of those in flight, and no chunk outlives it. Whoever never
-- comes to the job's row (rolled back, or a running chunk claimed again) is found by close_quiet_jobs.
CREATE OR REPLACE FUNCTION cancel_rest(job jobs) RETURNS void LANGUAGE plpgsql AS $$
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
    SET status = 'cancelled', ended_at = clock_timestamp(),
        error = 'cancelled: the job was given up by its policy ' || job.failure_policy
    FROM (
        SELECT job_id, chunk_id FROM chunks
        WHERE job_id = job.job_id AND status IN ('queued', 'running') FOR NO KEY UPDATE SKIP LOCKED
    ) rest
    WHERE c.job_id = rest.job_id AND c.chunk_id = rest.chunk_id;
    -- what it has in the outbox is left to the relay, which finds nothing queued: to remove it could mean to wait for that
END
$$;
