"""Rivals that learn by gradient: the door to torch and tianshou, which the extra `rl` brings.

Nothing here is needed to play what was learned: that is `agents.policies.learned`.
"""
