"""What is counted of a run while it runs, and the summary that tells of it."""
