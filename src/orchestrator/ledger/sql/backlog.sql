-- How many chunks of a worker type wait: the door of the API closes above a bound.
SELECT coalesce(sum(queued), 0)::bigint FROM jobs WHERE worker_type = $1 AND status IN ('queued', 'processing')
