"""One limiter for each model endpoint, shared by all workers of the cluster through Redis.

limiter (asks, waits, gives back) ─▶ book (permits, queue, buckets, what was learnt) ─▶ scripts (Redis)
     │                                 └─▶ rules (pure: up by one, down by half)
     └─▶ local (the same for one process alone, while Redis is away)
view (what each endpoint is doing, for the API)
"""
