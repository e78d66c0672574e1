SELECT close_quiet_jobs($1 * interval '1 second')
