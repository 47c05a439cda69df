"""The simulated world: users, what they like, and why they leave."""
