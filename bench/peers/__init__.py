"""The queue libraries of the field, each with a file; they live in environments of their own, never in ours."""
