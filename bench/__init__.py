"""What the hot path costs: every figure beside the bare thing it is compared with, in one run."""
