-- The same, unless somebody else is at it.
SELECT set_config('idle_in_transaction_session_timeout', '10s', true) IS NOT NULL
    AND set_config('plan_cache_mode', 'force_generic_plan', true) IS NOT NULL
    AND pg_try_advisory_xact_lock($1)
