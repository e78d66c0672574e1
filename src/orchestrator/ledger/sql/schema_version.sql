-- The newest migration that has run; 0 for none.
SELECT coalesce(max(version), 0) FROM schema_version
