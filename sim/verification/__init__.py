"""Whether a run directory holds what its run left: every file, read again."""
