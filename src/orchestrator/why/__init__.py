"""Why a job does not move: the facts of the ledger and of Redis, and what they mean."""
