"""What the checker knows of the past: every change of a chunk, written down by a trigger of its own."""

from __future__ import annotations

INSTALL = """
CREATE TABLE chaos_history (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    who text NOT NULL DEFAULT session_user,
    job_id text NOT NULL,
    chunk_id text NOT NULL,
    was text NOT NULL,
    is_ text NOT NULL,
    held_by text,     -- the worker it was claimed by
    held_token text,  -- and its lease
    claim_token text,
    said_token text,  -- the lease that the result says it is of
    attempts int NOT NULL,
    deliveries int NOT NULL,
    error text
);
CREATE FUNCTION chaos_remember() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chaos_history (job_id, chunk_id, was, is_, held_by, held_token, claim_token, said_token, attempts,
        deliveries, error)
    VALUES (NEW.job_id, NEW.chunk_id, OLD.status, NEW.status, split_part(OLD.consumer, '-', 1), OLD.lease_token,
        NEW.lease_token, NEW.result->>'token', NEW.attempts - OLD.attempts, NEW.deliveries - OLD.deliveries,
        NEW.error);
    RETURN NULL;
END
$$;
CREATE TRIGGER chaos_remembers AFTER UPDATE ON chunks FOR EACH ROW EXECUTE FUNCTION chaos_remember();
"""
