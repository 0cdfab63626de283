"""Building blocks of PatchMatch editing that the verbs share."""
