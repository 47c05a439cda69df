"""The performance book: what billp costs, beside yardsticks that are measured in the same run."""
