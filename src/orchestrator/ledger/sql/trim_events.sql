-- Drop events past their retention, a bounded number at a time.
DELETE FROM events WHERE seq IN (
    SELECT seq FROM events WHERE at < clock_timestamp() - $1 * interval '1 second' ORDER BY seq LIMIT 10000
)
