"""The tools of the actor: categories as whole words, and candidates that fit a thought."""

import numpy as np
import pytest

from agents.billp.tools import CandidateSearch, category_counts, untried
from agents.trajectory import Step
from engine.chance import Stream, chance
from storage.catalog import Catalog
from tests.support.cast import (
    CATALOG,
    CHESS,
    EVERYTHING,
    FARM,
    GO,
    HOUSE,
    OPERA,
    PILOT,
    RACER,
    SAGA,
    trajectory,
)

SEARCH = CandidateSearch(CATALOG)


def steps(*items: int) -> list[Step]:
    return list(trajectory(*[(item, 3.0) for item in items]).steps())


def named(*names: str) -> CandidateSearch:
    """Return a search in a catalog of one item for each of these categories."""
    categories = tuple((name,) for name in names)
    return CandidateSearch(Catalog(names, categories, np.ones(len(names), np.int64)))


def stream(seed: int = 0) -> Stream:
    return chance(seed, 0, 0, 0, "candidates")


def found(thought: str, *, count: int = 10, taken: frozenset[int] = frozenset()) -> list[int]:
    return SEARCH.search(thought, count=count, taken=taken, stream=stream())


# -- categories


def test_categories_are_counted_as_wholes() -> None:
    """Item by item: each category of an item once, not letter by letter."""
    assert category_counts(steps(CHESS, PILOT, GO)) == [
        ("Puzzle", 2),
        ("Strategy", 2),
        ("Action", 1),
        ("Science Fiction", 1),
    ]


def test_the_most_frequent_category_comes_first() -> None:
    """Then by name."""
    names = [name for name, _ in category_counts(steps(OPERA, HOUSE, FARM, PILOT))]
    assert names == ["Science Fiction", "Action", "Horror", "Simulation"]


def test_no_steps_no_categories() -> None:
    assert category_counts([]) == []


def test_untried_are_the_largest_categories_without_a_step() -> None:
    """An item of two categories tries both."""
    assert untried(CATALOG, steps(PILOT, HOUSE), 3) == ["Puzzle", "Strategy", "Fiction"]
    assert untried(CATALOG, [], 2) == ["Puzzle", "Science Fiction"]
    assert untried(CATALOG, steps(*EVERYTHING), 3) == []


# -- what a thought asks for


@pytest.mark.parametrize(
    ("thought", "wanted", "unwanted"),
    [
        ("Take from Puzzle or Racing; avoid Action, Horror.", "Puzzle Racing", "Action Horror"),
        ("racing, then PUZZLE", "Racing Puzzle", ""),
        ("No Horror! Racing instead.", "Racing", "Horror"),
        ("Puzzle without Racing", "Puzzle", "Racing"),
        ("Racing rather than Puzzle: go on", "Racing", "Puzzle"),
        ("Puzzle, but never Strategy", "Puzzle", "Strategy"),
        ("Avoid Horror, but Racing is fine", "Racing", "Horror"),
        ("Racing? Avoid Racing.", "", "Racing"),
        ("Puzzle and Puzzle", "Puzzle", ""),
        ("Something new.", "", ""),
        ("", "", ""),
    ],
)
def test_a_thought_asks_and_warns(thought: str, wanted: str, unwanted: str) -> None:
    """A warning word counts to the end of its clause; a warning counts more than a wish."""
    assert SEARCH.wishes(thought) == (wanted.split(), frozenset(unwanted.split()))


def test_a_category_within_a_longer_one_is_not_meant() -> None:
    assert SEARCH.wishes("Science Fiction") == (["Science Fiction"], frozenset())
    assert SEARCH.wishes("Fiction, then Science Fiction") == (
        ["Fiction", "Science Fiction"],
        frozenset(),
    )


def test_the_longer_of_two_names_is_meant() -> None:
    """Although the shorter one begins like it."""
    assert named("Action", "Action RPG").wishes("An Action RPG") == (["Action RPG"], frozenset())


def test_a_category_within_a_word_is_not_meant() -> None:
    assert SEARCH.wishes("Fictional puzzlement, embracing horrors") == ([], frozenset())


@pytest.mark.parametrize("name", ["Role-Playing (RPG)", "C++", "Kids & Family", ".NET", "Web 2.0"])
def test_names_with_signs_are_found(name: str) -> None:
    assert named(name, "Puzzle").wishes(f"Take from {name}; avoid Puzzle.")[0] == [name]


def test_letters_of_other_alphabets_do_no_harm() -> None:
    """A dotless ı and an i are the same to a pattern that ignores case, but no spelling of it."""
    assert named("Kadın", "Puzzle").wishes("Kadin, Puzzle") == (["Puzzle"], frozenset())


def test_a_catalog_without_categories_has_no_wishes() -> None:
    bare = CandidateSearch(Catalog(("A", "B"), ((), ()), np.ones(2, np.int64)))
    assert bare.wishes("Take from Puzzle.") == ([], frozenset())
    assert sorted(bare.search("Puzzle", count=2, taken=(), stream=stream())) == [0, 1]


# -- candidates


def test_candidates_are_of_the_wanted_categories() -> None:
    assert set(found("Take from Puzzle or Racing.")) == {CHESS, GO, RACER}


def test_without_a_wish_the_whole_catalog_is_searched() -> None:
    assert set(found("Something new.", count=50)) == set(EVERYTHING)


def test_items_that_are_taken_are_no_candidates() -> None:
    assert found("Puzzle", taken=frozenset({GO})) == [CHESS]
    assert found("Puzzle", taken=frozenset({GO, CHESS})) == []


def test_there_are_as_many_candidates_as_asked_for() -> None:
    """Each of them once; none if none is asked for."""
    three = found("", count=3)
    assert len(three) == len(set(three)) == 3
    assert found("", count=0) == []


def test_items_of_unwanted_categories_come_last() -> None:
    """Star Pilot is Action, too; it stays at hand if there is too little else."""
    both = "Take from Science Fiction; avoid Action."
    assert found(both) == [OPERA, PILOT]
    assert found(both, count=1) == [OPERA]
    assert found(both, taken=frozenset({OPERA})) == [PILOT]


def test_the_same_stream_draws_the_same_candidates() -> None:
    def draw(seed: int) -> tuple[int, ...]:
        return tuple(SEARCH.search("", count=3, taken=(), stream=stream(seed)))

    assert draw(1) == draw(1)
    assert len({draw(seed) for seed in range(20)}) > 5


def test_popular_items_are_candidates_more_often() -> None:
    """Go Master leads the list, Chess Duel ends it, and both have their chance."""
    firsts = [SEARCH.search("", count=1, taken=(), stream=stream(seed))[0] for seed in range(1_000)]
    counts = [firsts.count(item) for item in (GO, SAGA, CHESS)]
    assert counts == sorted(counts, reverse=True)
    # A squared uniform number is below 1/8 with probability √(1/8), above 7/8 with 1 − √(7/8).
    assert counts[0] == pytest.approx(354, abs=50)
    assert counts[2] == pytest.approx(65, abs=30)


@pytest.mark.parametrize("thought", ["", "Puzzle or Action", "Science Fiction; avoid Action."])
@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_draws_that_are_spared_would_change_nothing(thought: str, count: int) -> None:
    """The same as four draws for each candidate, those of fewest unwanted categories first."""
    wanted, unwanted = SEARCH.wishes(thought)
    pools = [CATALOG.members[name] for name in wanted] or [CATALOG.by_popularity]
    chances = stream()
    turns = [pools[draw % len(pools)] for draw in range(4 * count)]
    drawn = [int(pool[int(len(pool) * chances.fraction() ** 2)]) for pool in turns]
    order = sorted(dict.fromkeys(drawn), key=lambda n: len(unwanted & {*CATALOG.categories[n]}))
    assert found(thought, count=count) == order[:count]
