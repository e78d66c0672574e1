-- The ledger: jobs, their chunks, the events of both, what is still to be dispatched, who works, and what died.
-- Invariant, held by construction: queued + running + processed + failed + cancelled = chunks_total.

CREATE TABLE jobs (
    job_id text PRIMARY KEY CHECK (length(job_id) BETWEEN 1 AND 128),
    tenant text NOT NULL,
    worker_type text NOT NULL,
    queue text NOT NULL,
    workspace text NOT NULL,
    job_type text NOT NULL,
    source_type text NOT NULL DEFAULT '',
    status text NOT NULL DEFAULT 'queued'
        CHECK (status IN ('queued', 'processing', 'completed', 'failed', 'cancelled')),
    chunks_total int NOT NULL DEFAULT 0,
    -- An external producer may declare its total or not; an undeclared job ends when it has been quiet for a while.
    declared boolean NOT NULL DEFAULT true,
    seen int NOT NULL DEFAULT 0,
    running int NOT NULL DEFAULT 0,
    processed int NOT NULL DEFAULT 0,
    failed int NOT NULL DEFAULT 0,
    cancelled int NOT NULL DEFAULT 0,
    -- Chunks of a declared total that have not been seen yet count as queued.
    queued int GENERATED ALWAYS AS (chunks_total - running - processed - failed - cancelled) STORED,
    entities bigint NOT NULL DEFAULT 0,
    relations bigint NOT NULL DEFAULT 0,
    version bigint NOT NULL DEFAULT 1,
    metadata jsonb NOT NULL DEFAULT '{}',
    error_message text,
    error_chunk_id text,
    idempotency_key text,
    request_hash text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at timestamptz,
    completed_at timestamptz,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (running >= 0 AND processed >= 0 AND failed >= 0 AND cancelled >= 0),
    CHECK (running + processed + failed + cancelled <= seen AND seen <= chunks_total)
) WITH (fillfactor = 50);

CREATE UNIQUE INDEX jobs_idempotency ON jobs (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_by_age ON jobs (created_at DESC, job_id DESC);
CREATE INDEX jobs_by_change ON jobs USING brin (changed_at);
CREATE INDEX jobs_active ON jobs (worker_type) WHERE status IN ('queued', 'processing');

CREATE TABLE chunks (
    job_id text NOT NULL REFERENCES jobs ON DELETE CASCADE,
    chunk_id text NOT NULL CHECK (length(chunk_id) BETWEEN 1 AND 128),
    seq int NOT NULL,
    status text NOT NULL DEFAULT 'queued'
        CHECK (status IN ('queued', 'running', 'processed', 'failed', 'cancelled')),
    content text NOT NULL,
    source_uri text NOT NULL DEFAULT '',
    metadata jsonb,
    attempts int NOT NULL DEFAULT 0,
    deliveries int NOT NULL DEFAULT 0,
    lease_token bigint,
    receipt text,
    consumer text,
    error text,
    entities int NOT NULL DEFAULT 0,
    relations int NOT NULL DEFAULT 0,
    duplicate_of text,
    result jsonb,
    started_at timestamptz,
    ended_at timestamptz,
    due_at timestamptz,
    PRIMARY KEY (job_id, chunk_id)
) WITH (fillfactor = 70);

CREATE INDEX chunks_in_order ON chunks (job_id, seq, chunk_id);

CREATE TABLE events (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id text,
    tenant text,
    type text NOT NULL,
    data jsonb NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX events_of_job ON events (job_id, seq);

-- One row for each job whose chunks are not all on the stream yet; next_seq is how far the relay has come.
CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id text NOT NULL REFERENCES jobs ON DELETE CASCADE,
    queue text NOT NULL,
    next_seq int NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE workers (
    consumer text PRIMARY KEY,
    host text NOT NULL,
    worker_type text NOT NULL,
    pid int NOT NULL,
    version text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    stopped_at timestamptz,
    tasks_processed bigint NOT NULL DEFAULT 0,
    busy int NOT NULL DEFAULT 0,
    chunks_per_second double precision NOT NULL DEFAULT 0,
    step text NOT NULL DEFAULT ''
);

CREATE TABLE dead_letters (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    worker_type text NOT NULL,
    queue text NOT NULL,
    job_id text,
    chunk_id text,
    reason text NOT NULL,
    receipt text,
    payload jsonb NOT NULL DEFAULT '{}',
    attempts int NOT NULL DEFAULT 0,
    deliveries int NOT NULL DEFAULT 0,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE UNIQUE INDEX dead_letters_once ON dead_letters (queue, receipt) WHERE job_id IS NULL;

-- Append the events of a job's change of state. One place, so that no statement can change a job without its event.
CREATE FUNCTION job_event(job jobs, kind text, data jsonb) RETURNS void LANGUAGE sql AS $$
    INSERT INTO events (job_id, tenant, type, data) VALUES (job.job_id, job.tenant, job.job_type || '.' || kind, data)
$$;

-- What a job's state is, given its counters (X-13, X-15, X-19): integers compared, never percentages.
CREATE FUNCTION job_status_of(job jobs) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN job.status IN ('completed', 'failed', 'cancelled') THEN job.status
        WHEN job.declared AND job.processed + job.failed + job.cancelled = job.chunks_total THEN
            CASE WHEN job.failed > 0 THEN 'failed' WHEN job.cancelled > 0 THEN 'cancelled' ELSE 'completed' END
        WHEN job.started_at IS NOT NULL THEN 'processing'
        ELSE 'queued'
    END
$$;

-- Bring a job's state in line with its counters and append what that means as events.
CREATE FUNCTION settle_job(before jobs, after jobs) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    next_status text := job_status_of(after);
    ended boolean := next_status IN ('completed', 'failed', 'cancelled');
    now_ timestamptz := clock_timestamp();
BEGIN
    IF before.started_at IS NULL AND after.started_at IS NOT NULL THEN
        PERFORM job_event(after, 'started', jsonb_build_object('chunks_total', after.chunks_total));
    END IF;
    IF after.processed > before.processed THEN
        PERFORM job_event(after, 'progress', jsonb_build_object(
            'chunks_processed', after.processed, 'chunks_total', after.chunks_total,
            'percent_complete', round((after.processed::bigint * 10000 / after.chunks_total) / 100.0, 2)));
    END IF;
    IF next_status = after.status THEN
        RETURN;
    END IF;
    UPDATE jobs SET status = next_status, completed_at = CASE WHEN ended THEN now_ END WHERE job_id = after.job_id;
    IF ended THEN
        PERFORM job_event(after, next_status, jsonb_strip_nulls(jsonb_build_object(
            'chunks_processed', after.processed, 'chunks_failed', after.failed, 'chunks_cancelled', after.cancelled,
            'chunks_total', after.chunks_total,
            'duration_seconds', round(extract(epoch FROM now_ - coalesce(after.started_at, after.created_at)), 3),
            'error', after.error_message, 'chunk_id', after.error_chunk_id)));
    END IF;
END
$$;

-- A job exists from here on; ingestion.queued (E-36) is never forgotten. Runs at commit: an event's seq is taken when it is
-- written, and readers in the order of seq wait for whoever took a lower one; nobody shall wait while chunks are copied.
CREATE FUNCTION announce_job() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    job jobs;
BEGIN
    SELECT * INTO job FROM jobs WHERE job_id = NEW.job_id;
    PERFORM job_event(job, 'queued', jsonb_build_object(
        'chunks_total', job.chunks_total, 'source_type', job.source_type, 'workspace', job.workspace))
    WHERE FOUND;
    RETURN NULL;
END
$$;

-- Cancel what has not ended; a handler still at work finds its settle refused, for the lease token is gone. Chunks that an
-- external producer declared and never sent are waited for no longer.
CREATE FUNCTION cancel_job(target text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    before jobs;
    after jobs;
BEGIN
    UPDATE chunks SET status = 'cancelled', lease_token = NULL, ended_at = clock_timestamp(), error = 'cancelled'
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

-- End the jobs of external producers that declared no total: all seen chunks have ended and nothing came for a while.
CREATE FUNCTION close_quiet_jobs(quiet interval) RETURNS int LANGUAGE plpgsql AS $$
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
    RETURN closed;
END
$$;

-- New chunks of a job: its total grows when more are seen than were declared.
CREATE FUNCTION count_new_chunks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE jobs j
    SET seen = j.seen + d.n, chunks_total = greatest(j.chunks_total, j.seen + d.n),
        version = j.version + 1, changed_at = clock_timestamp()
    FROM (SELECT job_id, count(*)::int AS n FROM added GROUP BY job_id) d
    WHERE j.job_id = d.job_id;
    RETURN NULL;
END
$$;

-- The counters of a job are derived here from what its chunks do, whatever statement does it (X-16, X-17, X-18).
CREATE FUNCTION count_chunks() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    change record;
    before jobs;
    after jobs;
BEGIN
    FOR change IN
        SELECT n.job_id,
            sum((n.status = 'running')::int - (o.status = 'running')::int)::int AS running,
            sum((n.status = 'processed')::int - (o.status = 'processed')::int)::int AS processed,
            sum((n.status = 'failed')::int - (o.status = 'failed')::int)::int AS failed,
            sum((n.status = 'cancelled')::int - (o.status = 'cancelled')::int)::int AS cancelled,
            sum(n.entities - o.entities)::bigint AS entities,
            sum(n.relations - o.relations)::bigint AS relations,
            bool_or(n.status = 'running') AS started,
            min(n.error) FILTER (WHERE n.status = 'failed' AND o.status <> 'failed') AS error,
            min(n.chunk_id) FILTER (WHERE n.status = 'failed' AND o.status <> 'failed') AS error_chunk
        FROM changed_to n JOIN changed_from o USING (job_id, chunk_id)
        WHERE n.status <> o.status
        GROUP BY n.job_id
        ORDER BY n.job_id  -- one order of locks for everybody: no deadlock between two settles
    LOOP
        SELECT * INTO before FROM jobs WHERE job_id = change.job_id FOR NO KEY UPDATE;
        UPDATE jobs SET
            running = jobs.running + change.running,
            processed = jobs.processed + change.processed,
            failed = jobs.failed + change.failed,
            cancelled = jobs.cancelled + change.cancelled,
            entities = jobs.entities + change.entities,
            relations = jobs.relations + change.relations,
            started_at = CASE WHEN change.started THEN coalesce(jobs.started_at, clock_timestamp()) ELSE jobs.started_at END,
            error_message = coalesce(jobs.error_message, change.error),
            error_chunk_id = coalesce(jobs.error_chunk_id, change.error_chunk),
            version = jobs.version + 1,
            changed_at = clock_timestamp()
        WHERE job_id = change.job_id RETURNING * INTO after;
        PERFORM settle_job(before, after);
    END LOOP;
    RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER job_added AFTER INSERT ON jobs DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION announce_job();
CREATE TRIGGER chunks_added AFTER INSERT ON chunks REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION count_new_chunks();
CREATE TRIGGER chunks_changed AFTER UPDATE ON chunks REFERENCING OLD TABLE AS changed_from NEW TABLE AS changed_to
    FOR EACH STATEMENT EXECUTE FUNCTION count_chunks();
