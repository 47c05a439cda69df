"""The simulated world for learners: `billp/Recommend-v0` of Gymnasium, and many visits at once.

Gymnasium knows the environment once this is imported, as it is by
`gymnasium.make("sim.gym:billp/Recommend-v0")`.
"""

from importlib.util import find_spec

if find_spec("gymnasium") is not None:  # the extra gym; a crowd does without
    from gymnasium import register

    register(
        id="billp/Recommend-v0",
        entry_point="sim.gym.recommend:Recommend",
        vector_entry_point="sim.gym.vector:RecommendVector",
    )
