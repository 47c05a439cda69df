"""What the code of BiLLP's authors writes, read."""
