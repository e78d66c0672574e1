-- Which jobs of a queue may send chunks now: of each lane (a tenant in a band) the oldest, as many as a page could need.
-- Lanes are found by skipping from one to the next in the index, so that a long outbox costs no more than a short one.
WITH RECURSIVE lanes AS (
    (SELECT priority, tenant FROM outbox WHERE queue = $1 ORDER BY priority, tenant LIMIT 1)
    UNION ALL
    SELECT n.priority, n.tenant
    FROM lanes l CROSS JOIN LATERAL (
        SELECT o.priority, o.tenant FROM outbox o
        WHERE o.queue = $1 AND (o.priority, o.tenant) > (l.priority, l.tenant)
        ORDER BY o.priority, o.tenant LIMIT 1
    ) n
), open AS MATERIALIZED (
    SELECT l.priority, l.tenant FROM lanes l
    WHERE NOT EXISTS (SELECT FROM pauses WHERE (scope, name) IN (('queue', $1), ('tenant', l.tenant)))
), size AS MATERIALIZED (
    SELECT greatest(8, $2::int / greatest(1, count(*)))::int AS most FROM open
)
SELECT o.id, o.job_id, o.next_seq, l.priority, l.tenant, o.full, j.workspace, j.seen - o.next_seq AS left,
    t.credit, t.tenant AS last_tenant
FROM open l
CROSS JOIN size s
CROSS JOIN LATERAL (
    SELECT o.*, row_number() OVER (ORDER BY o.due_at, o.id) AS n, count(*) OVER () = s.most AS full
    FROM (
        SELECT o.id, o.job_id, o.next_seq, o.due_at FROM outbox o
        WHERE o.queue = $1 AND o.priority = l.priority AND o.tenant = l.tenant AND o.due_at <= statement_timestamp()
            AND NOT EXISTS (SELECT FROM pauses p WHERE p.scope = 'job' AND p.name = o.job_id)
        ORDER BY o.due_at, o.id LIMIT (s.most)
    ) o
) o
JOIN jobs j ON j.job_id = o.job_id
LEFT JOIN turns t ON t.queue = $1 AND t.priority = l.priority
WHERE NOT EXISTS (SELECT FROM pauses p WHERE p.scope = 'type' AND p.name = j.worker_type)
ORDER BY l.priority, l.tenant, o.n
