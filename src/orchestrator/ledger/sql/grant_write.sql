-- What the runtime role may do: rows, and no DDL. The placeholder stands for its quoted name: never in a comment.
GRANT USAGE ON SCHEMA public TO :role;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO :role;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO :role;
REVOKE INSERT, UPDATE, DELETE ON schema_version FROM :role;
