"""What Python programs and notebooks hold: recorded runs to look into, and runs as they happen."""
