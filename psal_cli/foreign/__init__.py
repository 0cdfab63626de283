"""Networks that others have published: loading them without running code of theirs, their reach, their memory, their tiles."""
