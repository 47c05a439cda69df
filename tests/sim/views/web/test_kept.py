"""What is kept between pages: the last few things, and nothing that may soon be otherwise."""

from sim.views.web.kept import Held


def test_the_last_few_things_are_held() -> None:
    """What was asked for longest ago is made anew, the rest is not."""
    made: list[str] = []
    held = Held[str](2)

    def get(name: str) -> None:
        def make() -> str:
            made.append(name)
            return name

        held.get(name, make)

    for name in ("one", "two", "one", "three", "one", "two"):
        get(name)
    assert made == ["one", "two", "three", "two"]


def test_what_is_not_here_yet_is_looked_for_again() -> None:
    """A world that was not there may be there a moment later."""
    found = iter([None, "world"])
    held = Held[str | None](2)
    answers = [held.get("it", lambda: next(found), keep=bool) for _ in range(3)]
    assert answers == [None, "world", "world"]
