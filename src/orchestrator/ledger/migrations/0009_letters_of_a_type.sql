-- Two worker types may have queues of one name, on two servers: a receipt names an entry of one of them.
DROP INDEX dead_letters_once;
CREATE UNIQUE INDEX dead_letters_once ON dead_letters (worker_type, queue, receipt) WHERE job_id IS NULL;
