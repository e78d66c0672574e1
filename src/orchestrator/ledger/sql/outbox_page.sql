-- The next queued chunks of several jobs, a row each: n says which. Those of one seq are not torn apart.
SELECT a.n, string_agg(c.chunk_id, E'\x1f' ORDER BY c.seq) AS chunk_ids, coalesce(max(c.seq) + 1, 0) AS next_seq,
    NOT EXISTS (SELECT FROM chunks r WHERE r.job_id = a.job_id AND r.seq > max(c.seq) AND r.status = 'queued') AS done
FROM unnest($1::int[], $2::text[], $3::int[], $4::int[]) AS a (n, job_id, next_seq, most)
LEFT JOIN LATERAL (
    SELECT chunk_id, seq FROM chunks
    WHERE job_id = a.job_id AND seq >= a.next_seq AND status = 'queued'
    ORDER BY seq FETCH FIRST (a.most) ROWS WITH TIES
) c ON true
GROUP BY a.n, a.job_id
