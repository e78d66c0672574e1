-- Be the one who dispatches this queue, until the end of the transaction. Whoever is stopped in the middle loses it soon.
-- The statements that follow are not planned anew each time: that would cost more than they do.
SELECT set_config('idle_in_transaction_session_timeout', '10s', true) IS NOT NULL
    AND set_config('plan_cache_mode', 'force_generic_plan', true) IS NOT NULL
    AND pg_advisory_xact_lock($1) IS NOT NULL
