"""What the verbs do, on arrays: no files, no terminal. One package per verb."""
