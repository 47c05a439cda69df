"""Policies without a model, simple and learning."""
