-- Workers seen lately; one that stopped in order is not there.
SELECT * FROM workers WHERE stopped_at IS NULL AND seen_at > clock_timestamp() - $1 * interval '1 second'
ORDER BY consumer
