-- Settle a batch: each chunk whose lease token still holds. Returns the refused ones with their present status. What a run has
-- used that was cancelled is paid for all the same, once: the chunk keeps its token until then.
WITH asked AS (
    SELECT * FROM unnest(string_to_array((SELECT $1), E'\x1f'), string_to_array((SELECT $2), E'\x1f'),
        string_to_array((SELECT $3), E'\x1f')::bigint[], (SELECT $4::int[]), (SELECT $5::int[]), (SELECT $6::text[]),
        (SELECT $7::boolean[]), (SELECT $8::text[]), (SELECT $9::float8[]), (SELECT $10::text[]), (SELECT $11::jsonb[]),
        (SELECT $12::int[]), (SELECT $13::int[]), (SELECT $14::int[]), (SELECT $15::numeric[]))
        AS x (job_id, chunk_id, token, entities, relations, verdict, ran, reason, delay, duplicate_of, result, calls,
            prompt_tokens, completion_tokens, cost)
), done AS (
    UPDATE chunks c
    SET status = CASE WHEN a.verdict IN ('processed', 'failed') THEN a.verdict ELSE 'queued' END,
        attempts = c.attempts + a.ran::int,
        deliveries = c.deliveries - (a.verdict = 'release' AND c.counted)::int,
        lease_token = NULL, receipt = NULL, error = nullif(a.reason, ''),
        entities = a.entities, relations = a.relations, duplicate_of = a.duplicate_of, result = a.result,
        model_calls = c.model_calls + a.calls, prompt_tokens = c.prompt_tokens + a.prompt_tokens,
        completion_tokens = c.completion_tokens + a.completion_tokens, cost = c.cost + a.cost,
        ended_at = CASE WHEN a.verdict IN ('processed', 'failed') THEN clock_timestamp() END,
        due_at = CASE WHEN a.delay > 0 THEN clock_timestamp() + a.delay * interval '1 second' END
    FROM asked a
    WHERE c.job_id = a.job_id AND c.chunk_id = a.chunk_id AND c.status = 'running' AND c.lease_token = a.token
    RETURNING c.job_id, c.chunk_id, a.verdict, c.error, c.attempts, c.deliveries
), late AS (
    UPDATE chunks c
    SET lease_token = NULL, model_calls = c.model_calls + a.calls, prompt_tokens = c.prompt_tokens + a.prompt_tokens,
        completion_tokens = c.completion_tokens + a.completion_tokens, cost = c.cost + a.cost
    FROM asked a
    WHERE c.job_id = a.job_id AND c.chunk_id = a.chunk_id AND c.status = 'cancelled' AND c.lease_token = a.token
        AND (a.calls > 0 OR a.prompt_tokens > 0)
    RETURNING c.job_id, a.calls, a.prompt_tokens, a.completion_tokens, a.cost
), paid AS (
    UPDATE jobs j
    SET model_calls = j.model_calls + l.calls, prompt_tokens = j.prompt_tokens + l.prompt_tokens,
        completion_tokens = j.completion_tokens + l.completion_tokens, cost = j.cost + l.cost,
        version = j.version + 1, changed_at = clock_timestamp()
    FROM (
        SELECT job_id, sum(calls)::bigint AS calls, sum(prompt_tokens)::bigint AS prompt_tokens,
            sum(completion_tokens)::bigint AS completion_tokens, sum(cost) AS cost
        FROM late GROUP BY job_id
    ) l
    WHERE j.job_id = l.job_id
), buried AS (
    INSERT INTO dead_letters (worker_type, queue, job_id, chunk_id, reason, attempts, deliveries, receipt)
    SELECT j.worker_type, j.queue, d.job_id, d.chunk_id, coalesce(d.error, 'unknown'), d.attempts, d.deliveries,
        (SELECT c.receipt FROM chunks c WHERE c.job_id = d.job_id AND c.chunk_id = d.chunk_id)  -- as it was before
    FROM done d JOIN jobs j ON j.job_id = d.job_id WHERE d.verdict = 'failed'
)
SELECT a.job_id, a.chunk_id, (SELECT c.status FROM chunks c WHERE c.job_id = a.job_id AND c.chunk_id = a.chunk_id)
FROM asked a
WHERE NOT EXISTS (SELECT FROM done d WHERE d.job_id = a.job_id AND d.chunk_id = a.chunk_id)
