-- What a submission may ask for, what a job may spend, and what an operator may hold back.

ALTER TABLE jobs
    ADD COLUMN priority text NOT NULL DEFAULT 'normal' CHECK (priority IN ('high', 'normal', 'low')),
    ADD COLUMN not_before timestamptz,
    -- strict: any dead chunk fails the job at its end; fail_fast: at once; threshold: once more than max_failed are dead;
    -- best_effort: a job fails only when none of its chunks was processed.
    ADD COLUMN failure_policy text NOT NULL DEFAULT 'strict'
        CHECK (failure_policy IN ('strict', 'fail_fast', 'threshold', 'best_effort')),
    ADD COLUMN max_failed int NOT NULL DEFAULT 0 CHECK (max_failed >= 0),
    ADD COLUMN budget numeric(18, 6) CHECK (budget >= 0),
    ADD COLUMN cost numeric(18, 6) NOT NULL DEFAULT 0,
    ADD COLUMN model_calls bigint NOT NULL DEFAULT 0,
    ADD COLUMN prompt_tokens bigint NOT NULL DEFAULT 0,
    ADD COLUMN completion_tokens bigint NOT NULL DEFAULT 0;

-- A chunk's row is written three times: short, with its text apart, and room on its page for the next version of it.
ALTER TABLE chunks ALTER COLUMN content SET STORAGE EXTERNAL;
ALTER TABLE chunks SET (fillfactor = 45, toast_tuple_target = 256);

-- What the handler runs of a chunk used, failed runs included.
ALTER TABLE chunks
    ADD COLUMN cost numeric(18, 6) NOT NULL DEFAULT 0,
    ADD COLUMN model_calls int NOT NULL DEFAULT 0,
    ADD COLUMN prompt_tokens int NOT NULL DEFAULT 0,
    ADD COLUMN completion_tokens int NOT NULL DEFAULT 0;

ALTER TABLE dead_letters
    ADD COLUMN status text NOT NULL DEFAULT 'dead' CHECK (status IN ('dead', 'retried', 'dropped')),
    ADD COLUMN resolved_at timestamptz;

CREATE INDEX dead_letters_by_status ON dead_letters (status, id);

-- What is held back: a worker type, a queue, a tenant or a job. `by` is a key's name, or what in the system did it.
CREATE TABLE pauses (
    scope text NOT NULL CHECK (scope IN ('type', 'queue', 'tenant', 'job')),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 128),
    reason text NOT NULL DEFAULT '',
    by text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (scope, name)
);

-- A tenant's event stream is taken up again anywhere in the log.
CREATE INDEX events_of_tenant ON events (tenant, seq);

-- Who did what to jobs, letters and queues.
CREATE TABLE audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text NOT NULL,
    tenant text,
    action text NOT NULL,
    target text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}'
);

-- The counters of a job are derived here from what its chunks do, whatever statement does it (X-16, X-17, X-18).
CREATE OR REPLACE FUNCTION count_chunks() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    change record;
    before jobs;
    after jobs;
BEGIN
    -- No join of the two tables: their plan is made when a batch was small, and is quadratic when one is large.
    FOR change IN
        SELECT x.job_id,
            (sum(x.sign) FILTER (WHERE x.status = 'running'))::int AS running,
            (sum(x.sign) FILTER (WHERE x.status = 'processed'))::int AS processed,
            (sum(x.sign) FILTER (WHERE x.status = 'failed'))::int AS failed,
            (sum(x.sign) FILTER (WHERE x.status = 'cancelled'))::int AS cancelled,
            sum(x.sign * x.entities)::bigint AS entities,
            sum(x.sign * x.relations)::bigint AS relations,
            sum(x.sign * x.model_calls)::bigint AS model_calls,
            sum(x.sign * x.prompt_tokens)::bigint AS prompt_tokens,
            sum(x.sign * x.completion_tokens)::bigint AS completion_tokens,
            sum(x.sign * x.cost) AS cost,
            bool_or(x.sign > 0 AND x.status = 'running') AS started,
            min(x.error) FILTER (WHERE x.sign > 0 AND x.status = 'failed') AS error,
            min(x.chunk_id) FILTER (WHERE x.sign > 0 AND x.status = 'failed') AS error_chunk
        FROM (
            SELECT n.job_id, n.chunk_id, 1 AS sign, n.status, n.error, n.entities, n.relations, n.model_calls,
                n.prompt_tokens, n.completion_tokens, n.cost FROM changed_to n
            UNION ALL
            SELECT o.job_id, o.chunk_id, -1, o.status, NULL, o.entities, o.relations, o.model_calls,
                o.prompt_tokens, o.completion_tokens, o.cost FROM changed_from o
        ) x
        GROUP BY x.job_id
        HAVING coalesce(sum(x.sign) FILTER (WHERE x.status = 'running'), 0) <> 0
            OR coalesce(sum(x.sign) FILTER (WHERE x.status = 'queued'), 0) <> 0
        ORDER BY x.job_id  -- one order of locks for everybody: no deadlock between two settles
    LOOP
        SELECT * INTO before FROM jobs WHERE job_id = change.job_id FOR NO KEY UPDATE;
        UPDATE jobs SET
            running = jobs.running + coalesce(change.running, 0),
            processed = jobs.processed + coalesce(change.processed, 0),
            failed = jobs.failed + coalesce(change.failed, 0),
            cancelled = jobs.cancelled + coalesce(change.cancelled, 0),
            entities = jobs.entities + change.entities,
            relations = jobs.relations + change.relations,
            model_calls = jobs.model_calls + change.model_calls,
            prompt_tokens = jobs.prompt_tokens + change.prompt_tokens,
            completion_tokens = jobs.completion_tokens + change.completion_tokens,
            cost = jobs.cost + change.cost,
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
