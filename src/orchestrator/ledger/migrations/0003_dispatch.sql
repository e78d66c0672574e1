-- The outbox as queues with lanes: priority, then tenant, then age; whose turn it is; pauses that end with their job.

-- One row a job: where dispatch has come to, and what decides whose turn it is, beside it so that it needs no join.
DELETE FROM outbox a USING outbox b WHERE a.job_id = b.job_id AND a.id > b.id;

ALTER TABLE outbox
    ADD COLUMN dispatched int NOT NULL DEFAULT 0,  -- chunks that Redis holds an entry of, or that have ended
    ADD COLUMN priority text,
    ADD COLUMN tenant text,
    ADD COLUMN due_at timestamptz,
    ADD CONSTRAINT outbox_once UNIQUE (job_id),
    SET (fillfactor = 50);

UPDATE outbox o
SET dispatched = o.next_seq, priority = j.priority, tenant = j.tenant,
    due_at = greatest(j.created_at, j.not_before)
FROM jobs j WHERE j.job_id = o.job_id;

ALTER TABLE outbox
    ALTER COLUMN priority SET NOT NULL,
    ALTER COLUMN tenant SET NOT NULL,
    ALTER COLUMN due_at SET NOT NULL;

CREATE INDEX outbox_in_order ON outbox (queue, priority, tenant, due_at, id);

-- Whoever puts a job into the outbox says which; its place follows from the job.
CREATE FUNCTION place_in_outbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT j.priority, j.tenant, greatest(j.created_at, j.not_before) INTO NEW.priority, NEW.tenant, NEW.due_at
    FROM jobs j WHERE j.job_id = NEW.job_id;
    RETURN NEW;
END
$$;

CREATE TRIGGER outbox_placed BEFORE INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION place_in_outbox();

-- How far the round of each band has come: what it may still send before the others get theirs, and whose turn was last.
CREATE TABLE turns (
    queue text NOT NULL,
    priority text NOT NULL,
    credit int NOT NULL,
    tenant text NOT NULL,
    PRIMARY KEY (queue, priority)
) WITH (fillfactor = 50);

-- A pause of a job ends with the job.
CREATE FUNCTION end_pause() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM pauses WHERE scope = 'job' AND name = NEW.job_id;
    RETURN NULL;
END
$$;

CREATE TRIGGER job_ended AFTER UPDATE OF status ON jobs FOR EACH ROW
    WHEN (NEW.status IN ('completed', 'failed', 'cancelled')) EXECUTE FUNCTION end_pause();

CREATE INDEX audit_of_tenant ON audit (tenant, id);
