-- The migrations that have run.
CREATE TABLE IF NOT EXISTS schema_version (
    version int PRIMARY KEY,
    name text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
)
