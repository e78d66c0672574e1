-- Be the one who dispatches this queue, until the end of the transaction. Whoever is stopped in the middle loses it soon.
SELECT set_config('idle_in_transaction_session_timeout', '10s', true) IS NOT NULL
    AND pg_advisory_xact_lock($1) IS NOT NULL
