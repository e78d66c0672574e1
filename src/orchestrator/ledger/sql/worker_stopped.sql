UPDATE workers SET stopped_at = clock_timestamp(), busy = 0, chunks_per_second = 0, step = ''
WHERE consumer = ANY ($1::text[])
