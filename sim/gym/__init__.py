"""The simulated world for learners: `billp/Recommend-v0` of Gymnasium, and many visits at once.

Gymnasium knows the environment once this is imported, as it is by
`gymnasium.make("sim.gym:billp/Recommend-v0")`.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from storage.parts import of_extra

__all__ = ["Crowd", "Recommend", "RecommendVector"]

_WHERE = {
    "Crowd": "sim.gym.crowd",
    "Recommend": "sim.gym.recommend",
    "RecommendVector": "sim.gym.vector",
}

if TYPE_CHECKING:  # as in sim: types see what is imported when it is asked for
    from sim.gym.crowd import Crowd
    from sim.gym.recommend import Recommend
    from sim.gym.vector import RecommendVector
else:

    def __getattr__(name: str) -> Any:
        if name not in _WHERE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
        return getattr(of_extra(_WHERE[name], "gym", name), name)


if find_spec("gymnasium") is not None:  # a crowd does without
    from gymnasium import register

    register(
        id="billp/Recommend-v0",
        entry_point="sim.gym.recommend:Recommend",
        vector_entry_point="sim.gym.vector:RecommendVector",
    )
