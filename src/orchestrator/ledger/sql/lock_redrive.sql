-- A queue hides from one reader what another looks at (SQS): one worker at a time asks it.
SELECT pg_try_advisory_xact_lock(hashtext('redrive'), hashtext($1 || ':' || $2))
