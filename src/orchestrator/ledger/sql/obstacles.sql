-- What keeps workers of a type from their work; whoever is silent for longer is dead, and says nothing any more.
SELECT host, what, credentials FROM obstacles
WHERE worker_type = $1 AND said_at > clock_timestamp() - $2 * interval '1 second'
ORDER BY host
