import numpy as np
import pytest

from storage.datasets.draws import integers
from storage.datasets.interactions import Interactions, Scale, encode, gather
from storage.datasets.ratings import bounds, negatives, ratings_of


def played(scale: Scale = "hours", users: int = 40, items: int = 30) -> Interactions:
    drawn = integers(0, "pairs", 400, users * items)
    return gather(
        encode(map(str, (drawn // items).tolist())),
        encode(map(str, (drawn % items).tolist())),
        (1 + integers(0, "hours", 400, 1_000)).astype(np.float64),
        scale=scale,
        described={},
    )


def everything(data: Interactions) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.ones(len(data), dtype=np.bool_)


def test_hours_become_thirds_of_their_item() -> None:
    """Of the plays of a game a third each is rated 3, 4 and 5, the longest highest."""
    data = gather(
        encode("abcdefghi"),
        encode("ggggggggg"),
        np.arange(1.0, 10.0),
        scale="hours",
        described={},
    )
    assert ratings_of(data, everything(data)).tolist() == [3, 3, 3, 4, 4, 4, 5, 5, 5]


def test_unknown_hours_teach_nothing() -> None:
    """Limits between thirds come from known rows alone."""
    data = played()
    known = everything(data)
    known[::10] = False
    changed = data.values.copy()
    changed[::10] = 1e6
    other = Interactions(
        data.user_names, data.titles, data.categories, data.users, data.items, changed, "hours"
    )
    assert (ratings_of(data, known)[known] == ratings_of(other, known)[known]).all()


def test_ratings_are_taken_as_they_are() -> None:
    """Where users rate, nothing is made up."""
    data = played("rating")
    assert ratings_of(data, everything(data)) is data.values
    assert negatives(data, 0) is None
    assert bounds(data) == (data.values.min(), data.values.max())


@pytest.mark.parametrize(("scale", "rating"), [("hours", 1.5), ("positive", 2.0)])
def test_negatives_are_items_the_user_lacks(scale: Scale, rating: float) -> None:
    """One for each interaction, none that the user met, none twice."""
    data = played(scale)
    made = negatives(data, 0)
    assert made is not None
    met = set(zip(data.users.tolist(), data.items.tolist(), strict=True))
    pairs = set(zip(made.users.tolist(), made.items.tolist(), strict=True))
    assert len(pairs) == len(made) == len(data)
    assert not pairs & met
    assert set(made.values.tolist()) == {rating}


def test_negatives_end_where_nothing_is_left() -> None:
    """A user who met everything gets none."""
    data = gather(encode("uuv"), encode("aba"), np.ones(3), scale="positive", described={})
    made = negatives(data, 0)
    assert made is not None
    assert (made.users.tolist(), made.items.tolist()) == ([1], [1])
