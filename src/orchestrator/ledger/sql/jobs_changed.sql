-- Jobs changed within the last two minutes: their views may have missed it when a worker died in between.
SELECT * FROM jobs WHERE changed_at > clock_timestamp() - interval '2 minutes' ORDER BY changed_at DESC LIMIT 5000
