"""The configuration of a run: its layers, its bounds, and its stages."""
