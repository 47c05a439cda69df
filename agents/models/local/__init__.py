"""Models that are computed here, in this very process: GGUF files, by path or by name."""
