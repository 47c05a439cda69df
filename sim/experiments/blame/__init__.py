"""Blame: which decision, or which memory, made an episode go as it went."""
