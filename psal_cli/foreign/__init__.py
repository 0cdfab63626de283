"""Networks published by others: loading them without running their code, their receptive field, their memory, their tiles."""
