"""BiLLP and its rivals: agents that think with a model."""
