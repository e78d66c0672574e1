-- Drop a page of the oldest events past their retention, unless somebody else is at it. It ends at the first young one: seq
-- is nearly in the order of time, and so no more is read of what stays. Returns how many went, and the last of them.
WITH lock AS MATERIALIZED (
    SELECT pg_try_advisory_xact_lock($1) AS ours
), page AS MATERIALIZED (
    SELECT seq, at < clock_timestamp() - $2 * interval '1 second' AS old FROM events
    WHERE seq > $3 AND (SELECT ours FROM lock) ORDER BY seq LIMIT $4
), bound AS MATERIALIZED (
    SELECT coalesce(max(seq), $3) AS seq FROM page
    WHERE seq < coalesce((SELECT min(seq) FROM page WHERE NOT old), 9223372036854775807)
), gone AS (
    DELETE FROM events WHERE seq > $3 AND seq <= (SELECT seq FROM bound) RETURNING seq
)
SELECT count(*) AS count, max(seq) AS last FROM gone
