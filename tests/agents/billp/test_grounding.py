"""Grounding: from words to an item."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.billp.grounding import Grounded, Grounder, normalised
from storage.catalog import Catalog

TITLES = (
    "Half-Life",
    "Half-Life 2",
    "The Witcher® 3: Wild Hunt",
    "Pokémon Red",
    "Stardew Valley",
    "HALF LIFE",
    "Sid Meier's Civilization® V",
)
EVERYTHING = range(len(TITLES))
words = st.sampled_from([*TITLES, "half life", "Stardew Vally", "farming", "", "…"])


def grounder(*titles: str) -> Grounder:
    count = len(titles)
    return Grounder(Catalog(titles, ((),) * count, np.zeros(count, np.int64)))


GROUNDER = grounder(*TITLES)


@pytest.mark.parametrize("item", EVERYTHING)
def test_a_title_means_its_item(item: int) -> None:
    """Even if another title differs in case only."""
    assert GROUNDER.ground(TITLES[item]) == Grounded(item, "exact", 0.0)


@pytest.mark.parametrize(
    ("words", "item"),
    [
        ("the witcher 3 wild hunt", 2),
        ("  The Witcher™ 3 - Wild Hunt!", 2),
        ("POKEMON RED", 3),
        ("Sid Meiers Civilization V", 6),
        ("Sid Meier’s Civilization V", 6),
    ],
)
def test_spelling_is_forgiven(words: str, item: int) -> None:
    """Case, accents, signs and punctuation do not matter, nor does a letter."""
    grounded = GROUNDER.ground(words)
    assert grounded.item == item
    assert grounded.kind in ("normalised", "fuzzy")


def test_without_case_and_signs_it_is_the_same_title() -> None:
    assert GROUNDER.ground("the witcher 3: wild hunt") == Grounded(2, "normalised", 0.0)


def test_of_equal_titles_the_lower_position_is_meant() -> None:
    """ "Half-Life" and "HALF LIFE" are both meant by "half life"."""
    assert GROUNDER.ground("half life") == Grounded(0, "normalised", 0.0)


def test_a_misspelt_title_is_found() -> None:
    """One letter of thirteen is missing: 1 − 2·13 ÷ 27 = 1/27."""
    assert GROUNDER.ground("Stardew Vally") == Grounded(4, "fuzzy", 0.037037)


def test_other_words_mean_what_is_spelt_most_alike() -> None:
    """There is always an item, and its distance tells how far-fetched it is."""
    grounded = GROUNDER.ground("some valley where I farm")
    assert (grounded.item, grounded.kind) == (4, "nearest")
    assert 0.3 < grounded.distance < 1


def test_a_taken_item_is_not_meant() -> None:
    """The exact title is taken: the nearest that is free stands in, whatever it is."""
    grounded = GROUNDER.ground("Half-Life 2", taken={1})
    assert (grounded.item, grounded.kind) == (0, "nearest")


def test_a_taken_twin_leaves_the_other() -> None:
    """The same letters are at no distance, never at less."""
    for taken, item in (({0}, 5), ({5}, 0)):
        grounded = GROUNDER.ground("half life", taken)
        assert grounded.item == item
        assert grounded.distance >= 0


def test_a_misspelt_title_that_is_taken_is_passed_over() -> None:
    """Titles that are as likely are tried one after the other."""
    twins = grounder("Stardew Valleys", "Stardew Valleyx", "Emma")
    assert twins.ground("Stardew Valley").item == 0
    assert twins.ground("Stardew Valley", {0}).kind == "fuzzy"
    assert twins.ground("Stardew Valley", {0}).item == 1
    assert twins.ground("Stardew Valley", {0, 1}).item == 2


@pytest.mark.parametrize("words", ["Emma", "emma", "Emmas", "something else"])
def test_where_all_is_taken_nothing_is_meant(words: str) -> None:
    with pytest.raises(ValueError, match="every item is taken"):
        grounder("Emma").ground(words, taken=[0])


@given(words=words, taken=st.sets(st.sampled_from(EVERYTHING), max_size=len(TITLES) - 1))
@settings(deadline=None)
def test_a_free_item_is_always_found(words: str, taken: set[int]) -> None:
    """Whatever is said and taken; the distance is 0 for the same title and grows from there."""
    grounded = GROUNDER.ground(words, taken)
    assert grounded.item not in taken
    assert 0 <= grounded.distance < 2
    assert grounded == GROUNDER.ground(words, sorted(taken))


@given(
    among=st.lists(st.sampled_from(EVERYTHING), min_size=1, unique=True),
    words=words,
)
@settings(deadline=None)
def test_the_nearest_is_one_of_those_asked_for(among: list[int], words: str) -> None:
    """A list, a tuple or a range: the same item is nearest."""
    nearest = GROUNDER.nearest(words, among)
    assert nearest.item in among
    assert GROUNDER.nearest(words, tuple(among)) == nearest
    part = range(min(among), max(among) + 1)
    assert GROUNDER.nearest(words, part) == GROUNDER.nearest(words, list(part))


def test_of_items_as_near_the_first_is_taken() -> None:
    """A choice between equal distances falls to what stands first."""
    twins = grounder("HALF LIFE", "half life", "Half Life")
    assert twins.nearest("half-life", [2, 1, 0]).item == 2
    assert twins.nearest("half-life", range(3)).item == 0


def test_among_nothing_nothing_is_nearest() -> None:
    with pytest.raises(ValueError, match="every item is taken"):
        GROUNDER.nearest("Emma", [])


@pytest.mark.parametrize(
    ("title", "plain"),
    [
        ("The Witcher® 3: Wild Hunt™", "the witcher 3 wild hunt"),
        ("Pokémon  Straße", "pokemon strasse"),
        ("ﬁnal — fantasy Ⅶ", "final fantasy vii"),
        ("大神", "大神"),
        ("!?", ""),
    ],
)
def test_titles_are_compared_without_ornaments(title: str, plain: str) -> None:
    assert normalised(title) == plain
