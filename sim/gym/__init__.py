"""The simulated world for learners: many visits at once."""
