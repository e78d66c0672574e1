-- Transactions that may hold a seq whose row nobody can see yet: an insert locks the table before it takes a seq, and gives
-- the lock back only after its rows have become visible.
SELECT l.virtualtransaction AS writer
FROM pg_locks l
WHERE l.locktype = 'relation' AND l.relation = 'events'::regclass AND l.mode = 'RowExclusiveLock' AND l.granted
    AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
