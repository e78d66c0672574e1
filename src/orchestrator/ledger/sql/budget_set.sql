SELECT set_budget($1, $2, $3, $4)
