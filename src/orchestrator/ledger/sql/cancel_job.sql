SELECT cancel_job($1)
