"""What is measured: each job is a function that does so much and tells what that cost."""
