-- What a role that only reads may do. The placeholder stands for its quoted name, which may hold anything: not here.
GRANT USAGE ON SCHEMA public TO :role;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO :role;
