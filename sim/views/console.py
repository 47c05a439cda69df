"""The consoles that commands write to: what a run says is text, and no markup or emoji."""

from rich.console import Console


def plain(*, stderr: bool = False, folding: bool = True) -> Console:
    """Return a console that writes text as it stands; not *folding*, it breaks no line."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=not folding)
