"""Whatever runs runs: experiments, estimates, critiques."""
