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
    FOR change IN
        SELECT n.job_id,
            sum((n.status = 'running')::int - (o.status = 'running')::int)::int AS running,
            sum((n.status = 'processed')::int - (o.status = 'processed')::int)::int AS processed,
            sum((n.status = 'failed')::int - (o.status = 'failed')::int)::int AS failed,
            sum((n.status = 'cancelled')::int - (o.status = 'cancelled')::int)::int AS cancelled,
            sum(n.entities - o.entities)::bigint AS entities,
            sum(n.relations - o.relations)::bigint AS relations,
            sum(n.model_calls - o.model_calls)::bigint AS model_calls,
            sum(n.prompt_tokens - o.prompt_tokens)::bigint AS prompt_tokens,
            sum(n.completion_tokens - o.completion_tokens)::bigint AS completion_tokens,
            sum(n.cost - o.cost) AS cost,
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
