from math import nan

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from storage.datasets.interactions import Description, Interactions, Scale, core, encode, gather
from storage.environments import LeftOut

Row = tuple[str, str, float]


def gathered(
    rows: list[Row],
    *,
    scale: Scale = "rating",
    times: list[float] | None = None,
    described: dict[str, Description] | None = None,
) -> Interactions:
    return gather(
        encode(user for user, _, _ in rows),
        encode(item for _, item, _ in rows),
        np.array([value for _, _, value in rows], dtype=np.float64),
        scale=scale,
        described=described or {},
        times=None if times is None else np.array(times),
    )


def rows_of(data: Interactions) -> list[Row]:
    columns = data.users.tolist(), data.items.tolist(), data.values.tolist()
    return [
        (data.user_names[user], data.titles[item], value)
        for user, item, value in zip(*columns, strict=True)
    ]


def test_rows_stand_by_time() -> None:
    """The oldest interaction comes first; equal times keep the source's order."""
    data = gathered([("u", "a", 1), ("u", "b", 2), ("u", "c", 3)], times=[5, 1, 5])
    assert [item for _, item, _ in rows_of(data)] == ["b", "a", "c"]


def test_the_later_rating_counts() -> None:
    """Who rates twice has changed their mind."""
    data = gathered([("u", "a", 1), ("u", "b", 2), ("u", "a", 5)], times=[1, 2, 3])
    assert rows_of(data) == [("u", "b", 2), ("u", "a", 5)]


def test_hours_are_summed() -> None:
    """Play time that was logged in two pieces is one play time."""
    data = gathered([("u", "a", 1.5), ("v", "a", 4), ("u", "a", 2)], scale="hours")
    assert sorted(rows_of(data)) == [("u", "a", 3.5), ("v", "a", 4)]


@given(st.lists(st.tuples(st.sampled_from("uvw"), st.sampled_from("abcd"), st.just(1.0))))
def test_no_pair_stands_twice(rows: list[Row]) -> None:
    """Each pair of user and item that was there is there once."""
    pairs = [row[:2] for row in rows_of(gathered(rows))]
    assert sorted(pairs) == sorted({row[:2] for row in rows})


def test_items_are_described() -> None:
    """Titles are cleaned and made distinct; who is not described is called by the identifier."""
    described = {"1": Description(" Emma "), "2": Description("Emma", ("Drama", "Drama"))}
    data = gathered([("u", "1", 1), ("u", "2", 1), ("u", "3", 1)], described=described)
    assert data.titles == ("Emma", "Emma (2)", "3")
    assert data.categories == ((), ("Drama",), ())


def test_core_is_taken_until_it_holds() -> None:
    """Leaving out an item can leave a user with too few, and so on."""
    rows: list[Row] = [("u", "a", 1), ("u", "b", 1), ("v", "a", 1), ("v", "b", 1), ("w", "b", 1)]
    kept = core(gathered([*rows, ("w", "c", 1)]), min_user=2, min_item=2)
    assert rows_of(kept) == rows[:4]
    assert (kept.user_names, kept.titles) == (("u", "v"), ("a", "b"))


def test_what_is_left_out_is_counted() -> None:
    """Rows without a rating, of a pair that is there again, and outside the core."""
    rows: list[Row] = [("u", "a", 1), ("u", "a", nan), ("u", "a", 2), ("v", "a", 1), ("v", "b", 1)]
    kept = core(gathered(rows), min_user=1, min_item=2)
    assert rows_of(kept) == [("u", "a", 2), ("v", "a", 1)]
    assert kept.left_out == LeftOut(unrated=1, merged=1, rare=1)


def test_nothing_may_be_left() -> None:
    """Too high a bar leaves no row, no user, no item."""
    kept = core(gathered([("u", "a", 1)]), min_user=3, min_item=1)
    assert (len(kept), kept.user_names, kept.titles) == (0, (), ())
