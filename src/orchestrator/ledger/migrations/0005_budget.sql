-- A job whose model calls have cost its budget is paused, and goes on when the budget is raised.

-- Pause a job for its budget, unless something has paused it already; return whether it was paused. What is at work goes on
-- to its end; when that was the last of the job there is nothing to pause.
CREATE FUNCTION pause_for_budget(job jobs) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    words text := format('budget spent: %s of %s', trim_scale(job.cost), trim_scale(job.budget));
BEGIN
    IF job_status_of(job) NOT IN ('queued', 'processing') THEN
        RETURN false;
    END IF;
    INSERT INTO pauses (scope, name, reason, by) VALUES ('job', job.job_id, words, 'budget') ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM job_event(job, 'paused', jsonb_build_object('reason', words, 'cost', job.cost, 'budget', job.budget));
    INSERT INTO audit (actor, tenant, action, target, detail)
    VALUES ('budget', job.tenant, 'pause', 'job/' || job.job_id, jsonb_build_object('reason', words));
    RETURN true;
END
$$;

CREATE FUNCTION spend_budget() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pause_for_budget(NEW);
    RETURN NULL;
END
$$;

-- A job without a budget costs one comparison with NULL.
CREATE TRIGGER budget_spent AFTER UPDATE OF cost ON jobs FOR EACH ROW
    WHEN (NEW.cost >= NEW.budget AND NEW.cost > OLD.cost) EXECUTE FUNCTION spend_budget();

-- A budget of nothing is spent from the beginning. At commit, so that ingestion.queued is the first event.
CREATE CONSTRAINT TRIGGER job_without_budget AFTER INSERT ON jobs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.cost >= NEW.budget) EXECUTE FUNCTION spend_budget();

-- Set a job's budget, NULL for none, and let it go on or pause it accordingly. A pause that somebody else made stays.
-- Returns what came of it: missing, ended, set, resumed or paused.
CREATE FUNCTION set_budget(target text, owner text, amount numeric, who text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    before jobs;
    after jobs;
BEGIN
    SELECT * INTO before FROM jobs WHERE job_id = target AND (owner IS NULL OR tenant = owner) FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN 'missing';
    ELSIF before.status NOT IN ('queued', 'processing') THEN
        RETURN 'ended';
    END IF;
    UPDATE jobs SET budget = amount, version = version + 1, changed_at = clock_timestamp()
    WHERE job_id = target RETURNING * INTO after;
    INSERT INTO audit (actor, tenant, action, target, detail)
    VALUES (who, after.tenant, 'budget', 'job/' || target,
        jsonb_build_object('budget', after.budget, 'before', before.budget, 'cost', after.cost));
    IF after.cost >= after.budget THEN
        RETURN CASE WHEN pause_for_budget(after) THEN 'paused' ELSE 'set' END;
    END IF;
    DELETE FROM pauses p WHERE p.scope = 'job' AND p.name = target AND p.by = 'budget';
    IF NOT FOUND THEN
        RETURN 'set';
    END IF;
    PERFORM job_event(after, 'resumed', jsonb_build_object('by', who, 'cost', after.cost, 'budget', after.budget));
    RETURN 'resumed';
END
$$;
