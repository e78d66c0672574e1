-- After a page: how far each job has come, or that all of it is on the stream; and how far the rounds have come.
WITH x AS (
    SELECT * FROM unnest($1::bigint[], $2::int[], $3::int[], $4::boolean[]) AS x (id, next_seq, published, done)
), gone AS (
    DELETE FROM outbox o USING x WHERE o.id = x.id AND x.done
), advanced AS (
    UPDATE outbox o SET next_seq = x.next_seq, dispatched = o.dispatched + x.published
    FROM x WHERE o.id = x.id AND NOT x.done
)
INSERT INTO turns (queue, priority, credit, tenant)
SELECT $5, x.priority, x.credit, x.tenant FROM unnest($6::text[], $7::int[], $8::text[]) AS x (priority, credit, tenant)
ON CONFLICT (queue, priority) DO UPDATE SET credit = excluded.credit, tenant = excluded.tenant
