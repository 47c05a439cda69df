import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from storage.catalog import Catalog, clean_title, distinct_titles
from tests.support.drawn import TEXTS


def catalog() -> Catalog:
    return Catalog(
        titles=("Alpha", "Beta", "Gamma", "Delta"),
        categories=(("War", "Drama"), ("Drama",), (), ("Art",)),
        popularity=np.array([3, 9, 1, 3]),
    )


def test_titles_are_cleaned() -> None:
    """Entities, white space and broken characters of the source do not reach a prompt."""
    assert clean_title(" Sam &amp; Max\t Hit\n the Road ") == "Sam & Max Hit the Road"
    assert clean_title("a\ud800b") == "a?b"


@given(TEXTS)
def test_cleaning_twice_is_cleaning_once_on_plain_text(text: str) -> None:
    """A title is one line of valid UTF-8 without blanks at its ends."""
    title = clean_title(text)
    assert title == " ".join(title.encode().decode().split())


def test_equal_titles_are_numbered() -> None:
    """Two items never share a title, not even with one that has a number already."""
    titles = distinct_titles(["Emma", "Emma (2)", "Emma", "Emma"])
    assert titles == ("Emma", "Emma (2)", "Emma (3)", "Emma (4)")


@given(st.lists(st.sampled_from(["a", "a (2)", "a (3)", "b"])))
def test_titles_become_distinct(titles: list[str]) -> None:
    """Whatever the titles, afterwards all differ and the first of each keeps its own."""
    distinct = distinct_titles(titles)
    assert len(set(distinct)) == len(titles)
    assert set(titles) <= set(distinct)


def test_categories_stand_by_size_then_name() -> None:
    """The largest category comes first; of equals the first by name."""
    assert catalog().category_names == ("Drama", "Art", "War")


def test_members_stand_by_popularity() -> None:
    """The most popular item comes first, of equals the lowest position."""
    assert catalog().members["Drama"].tolist() == [1, 0]
    assert catalog().by_popularity.tolist() == [1, 0, 3, 2]


def test_titles_lead_to_items() -> None:
    """An exact title finds its item."""
    assert catalog().by_title["Gamma"] == 2


def test_labels_are_the_categories_of_all_items_in_a_row() -> None:
    """Of no item, those between its ends."""
    known = catalog()
    columns, ends = known.labels
    for item, names in enumerate(known.categories):
        own = columns[ends[item] : ends[item + 1]].tolist()
        assert tuple(known.category_names[column] for column in own) == names
