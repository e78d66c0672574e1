-- What the jobs that were submitted since a moment have used so far, by tenant.
SELECT tenant, count(*) AS jobs, sum(model_calls)::bigint AS model_calls, sum(prompt_tokens)::bigint AS prompt_tokens,
    sum(completion_tokens)::bigint AS completion_tokens, sum(cost) AS cost
FROM jobs
WHERE ($1::text IS NULL OR tenant = $1) AND ($2::timestamptz IS NULL OR created_at >= $2)
GROUP BY tenant
ORDER BY tenant
