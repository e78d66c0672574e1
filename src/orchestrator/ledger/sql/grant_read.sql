-- What a role that only reads may do. The placeholder stands for its quoted name: never in a comment.
GRANT USAGE ON SCHEMA public TO :role;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO :role;
