INSERT INTO events (job_id, tenant, type, data)
SELECT x.job_id, x.tenant, x.type, x.data
FROM unnest($1::text[], $2::text[], $3::text[], $4::jsonb[]) AS x (job_id, tenant, type, data)
