SELECT * FROM jobs WHERE job_id = ANY ($1::text[])
