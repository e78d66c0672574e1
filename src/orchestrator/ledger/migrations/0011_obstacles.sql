-- What keeps the worker of a host and type from its work, by its own words: until it can work, or falls silent.
CREATE TABLE obstacles (
    host text NOT NULL,
    worker_type text NOT NULL,
    what text NOT NULL,
    credentials boolean NOT NULL,
    said_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (host, worker_type)
);
