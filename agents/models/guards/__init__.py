"""What stands before a service: cache, budget, limits, retries."""
