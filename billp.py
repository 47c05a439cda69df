"""billp, by its own name: what `sim` offers; and the command, as `python -m billp`."""

from typing import TYPE_CHECKING, Any

import sim

if TYPE_CHECKING:  # as in sim: types see what is imported when it is asked for
    from sim import *
else:
    __all__ = sim.__all__

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
        return getattr(sim, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *sim.__all__})


if __name__ == "__main__":
    from sim.cli import main

    main()
