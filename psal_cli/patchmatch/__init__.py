"""What the verbs share of PatchMatch editing."""
