"""Policies that were learned by gradient, and are played without what they were learned with."""
