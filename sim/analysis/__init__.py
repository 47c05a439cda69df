"""What recorded runs tell: outcomes, comparisons, differences, leaks."""
