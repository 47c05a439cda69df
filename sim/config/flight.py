"""How many model calls the arrivals of a run allow in flight."""

from sim.config.run import RunConfig

_BESIDE = 2  # calls of a visit at once: its next action, and the value of a state beside that

TRADE = "larger batches run faster, but nothing is learned within one"
"""What is to be considered before batches are made larger."""


def usable(config: RunConfig) -> int | None:
    """Return how many calls can be in flight in training, at most about; None if not bounded.

    Of a batch all visits go on side by side, and the next one waits for all of them. Tests with
    frozen memories come all at once, whatever the arrivals.
    """
    rule, _, size = config.arrivals.partition(":")
    return int(size) * _BESIDE if rule == "batches" else None


def unused(config: RunConfig) -> str:
    """Return why calls that are allowed in flight cannot be used; empty if they can, or as usual.

    Who left the concurrency as it is wanted nothing of it.
    """
    most = usable(config)
    if most is None or config.concurrency <= max(most, RunConfig().concurrency):
        return ""
    return (
        f"of {config.concurrency:,} calls in flight {config.arrivals} can use about {most:,} in "
        f"training: {TRADE}"
    )
