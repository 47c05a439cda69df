"""What the memories of recorded runs hold, and what they were good for."""
