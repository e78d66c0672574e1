-- What became of them: put back, or (gone) dead as before, with a word why.
UPDATE dead_letters
SET status = CASE WHEN id = ANY ($2::bigint[]) THEN 'dead' ELSE 'retried' END,
    resolved_at = CASE WHEN id = ANY ($2::bigint[]) THEN NULL ELSE clock_timestamp() END,
    reason = CASE WHEN id = ANY ($2::bigint[]) AND NOT reason LIKE '%' || $3::text THEN reason || $3::text ELSE reason END
WHERE id = ANY ($1::bigint[])
