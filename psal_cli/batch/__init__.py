"""Which pictures to work on, which masks and references belong to them, where results go, and running them in order."""
