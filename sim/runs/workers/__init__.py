"""Episodes evaluated in other processes: what goes between, the worker, and the pool of them."""
