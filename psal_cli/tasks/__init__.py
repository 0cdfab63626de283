"""What the verbs do, on tensors: no files, no terminal."""
