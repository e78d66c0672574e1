-- What a role that only reads may do; :role is replaced by its quoted name.
GRANT USAGE ON SCHEMA public TO :role;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO :role;
