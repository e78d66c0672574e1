-- How many chunks of a job are not on their stream yet.
SELECT greatest(0, j.seen - o.dispatched) FROM jobs j JOIN outbox o ON o.job_id = j.job_id WHERE j.job_id = $1
