"""Public data sets in small: the exact layout of each, and what becomes of it."""

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest

from engine.errors import DataError
from storage.datasets import FORMATS, Columns
from storage.datasets.interactions import Interactions, core
from storage.environments import LeftOut

Rated: TypeAlias = set[tuple[str, str, float]]
Categories: TypeAlias = Mapping[str, tuple[str, ...]]


def lines(path: Path, *rows: str, encoding: str = "utf-8") -> None:
    path.write_text("\n".join(rows) + "\n", encoding=encoding)


def objects(path: Path, *rows: object) -> None:
    """Write *rows* as JSON lines, packed if the file is called so."""
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)


def coat(source: Path) -> None:
    lines(source / "train.ascii", "0 5 0", "1 0 2")
    lines(source / "test.ascii", "3 5 0", "0 4 0")
    features = source / "user_item_features"
    features.mkdir()
    lines(features / "item_features.ascii", "1 0 1 0 1", "0 1 0 1 0", "0 1 0 1 0")
    names = ["gender:men", "gender:women", "jackettype:bomber", "color:red", "onfrontpage:yes"]
    lines(features / "item_features_map.txt", *names)


def kuairec(source: Path) -> None:
    header = "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio"
    one = "14,148,4381,6067,2020-07-05 05:27:48.378,20200705.0,1593898068.378,1.0"
    two = "14,183,30000,6067,2020-07-05 05:28:00.057,20200705.0,1593898080.057,3.9"
    lines(source / "small_matrix.csv", header, two, one, "19,148,0,6067,,,,0.0")
    lines(source / "item_categories.csv", "video_id,feat", '148,"[27, 9]"', "183,[8]")


def kuairand(source: Path) -> None:
    header = "user_id,video_id,date,hourmin,time_ms,is_click,is_like,tab"
    first, second = ("log_standard_4_08_to_4_21_pure.csv", "log_standard_4_22_to_5_08_pure.csv")
    lines(source / first, header, "0,7,20220408,400,1649343601301,1,0,1")
    lines(source / second, header, "0,8,20220422,400,1650556801301,0,0,1", "5,7,20220422,1,2,0,0,1")
    features = "video_id,author_id,video_type,upload_dt,tag"
    lines(source / "video_features_basic_pure.csv", features, '7,3,NORMAL,2022-04-01,"12,65"')


def amazon_2018(source: Path) -> None:
    common = {"verified": True, "reviewTime": "01 5, 2018", "style": {"Format:": " Kindle"}}
    rows = [("A2", "B1", 5.0, 1515110400), ("A1", "B2", 2.0, 9), ("A1", "B1", 4.0, 8)]
    keys = ("reviewerID", "asin", "overall", "unixReviewTime")
    made = [common | dict(zip(keys, row, strict=True)) for row in rows]
    objects(source / "Books_5.json.gz", *made)
    books = {"category": ["Books", "Arts &amp; Music"], "title": "Emma", "asin": "B1", "rank": []}
    objects(source / "meta_Books.json.gz", books, {"asin": "B9", "title": "Nobody's"})


def amazon_2023(source: Path) -> None:
    common = {"title": "Good", "text": "…", "images": [], "asin": "B7", "helpful_vote": 0}
    rows = [("A2", "B1", 5.0, 1588687728923), ("A1", "B2", 2.0, 9), ("A1", "B1", 4.0, 8)]
    keys = ("user_id", "parent_asin", "rating", "timestamp")
    made = [common | dict(zip(keys, row, strict=True)) for row in rows]
    objects(source / "Books.jsonl.gz", *made)
    categories = ["Books", "Arts & Music"]
    book = {"main_category": "Books", "title": "Emma", "categories": categories, "details": {}}
    objects(source / "meta_Books.jsonl.gz", book | {"parent_asin": "B1"})


def steam_australia(source: Path) -> None:
    games = [("10", "Counter-Strike", 6), ("20", 'Team "Fortress"', 0), ("30", "Doom", 90)]
    items = [
        {"item_id": item, "item_name": name, "playtime_forever": minutes, "playtime_2weeks": 0}
        for item, name, minutes in games
    ]
    ann = {"user_id": "ann", "items_count": 3, "steam_id": "7", "user_url": "…", "items": items}
    nobody = {"user_id": "bob", "items_count": 0, "items": []}
    rows = [repr(row) for row in (ann, nobody, ann)]
    lines(source / "australian_users_items.json", *rows)
    lines(
        source / "steam_games.json",
        "{u'publisher': u'Valve', u'genres': [u'Action', u'Indie'], u'id': u'10'}",
        "{u'app_name': u'without a number'}",
    )


def goodreads_books(source: Path) -> None:
    emma = {"book_id": "7", "title": "Emma", "popular_shelves": [{"count": "2", "name": "a"}]}
    objects(source / "goodreads_books.json.gz", emma, {"book_id": "8", "title": "Dune"})
    genres = {"fiction": 9, "history, historical fiction": 1}
    objects(
        source / "goodreads_book_genres_initial.json.gz",
        {"book_id": "7", "genres": genres},
        {"book_id": "8", "genres": {}},
    )


def goodreads(source: Path) -> None:
    goodreads_books(source)
    rows = [("7", 5, "Thu Aug 17 15:15:35 -0700 2017"), ("8", 2, "Thu Aug 17 23:15:35 +0200 2017")]
    read = [
        {"user_id": "e1", "book_id": book, "rating": stars, "is_read": True, "date_updated": when}
        for book, stars, when in rows
    ]
    shelved = read[0] | {"user_id": "e2", "rating": 0, "is_read": False}
    objects(source / "goodreads_interactions_dedup.json.gz", *read, shelved)


def goodreads_table(source: Path) -> None:
    goodreads_books(source)
    rows = ["0,948,1,2,0", "0,947,1,5,1", "1,947,0,0,0"]
    header = "user_id,book_id,is_read,rating,is_reviewed"
    lines(source / "goodreads_interactions.csv", header, *rows)
    lines(source / "book_id_map.csv", "book_id_csv,book_id", "947,7", "948,8")


def yelp(source: Path) -> None:
    review = {"review_id": "K", "user_id": "m", "business_id": "X", "stars": 3.0, "text": "…"}
    objects(
        source / "yelp_academic_dataset_review.json",
        review | {"date": "2018-07-07 22:09:11"},
        review | {"date": "2018-07-07 22:09:10", "business_id": "Y", "stars": 1.0},
    )
    place = {"business_id": "X", "name": "Abby", "city": "…", "attributes": {"a": "True"}}
    objects(
        source / "yelp_academic_dataset_business.json",
        place | {"categories": "Doctors, Health & Medical"},
        place | {"business_id": "Y", "categories": None},
    )


def book_crossing(source: Path) -> None:
    header = '"User-ID";"ISBN";"Book-Rating"'
    rows = ['"276725";"034545104X";"0"', '"276726";"0155061224";"10"', '"276726";"05";"1"']
    lines(source / "BX-Book-Ratings.csv", header, *rows, encoding="latin-1")
    names = ("Title", "Author")
    header = ";".join(['"ISBN"', *(f'"Book-{name}"' for name in names), '"Publisher"'])
    emma = '"0155061224";"Em\\"ma\\"; ou Café";"Élan Vital";"Wm &amp; Co"'
    lines(source / "BX-Books.csv", header, emma, encoding="latin-1")


BOOKS = {"Emma": ("fiction", "history, historical fiction"), "Dune": ()}
SOLD = {"Emma": ("Books", "Arts & Music"), "B2": ()}
COATS = {
    "Bomber coat for men": ("gender:men", "jackettype:bomber"),
    "Red coat for women": ("gender:women", "color:red"),
    "Red coat for women (2)": ("gender:women", "color:red"),
}

Layout: TypeAlias = tuple[str, Callable[[Path], None], Rated, Categories, LeftOut]

LAYOUTS: list[Layout] = [
    (
        "coat",
        coat,
        {
            ("user 0", "Red coat for women", 5.0),
            ("user 1", "Bomber coat for men", 1.0),
            ("user 1", "Red coat for women (2)", 2.0),
        },
        COATS,
        LeftOut(),
    ),
    (
        "kuairec",
        kuairec,
        {("14", "148", 3.0), ("14", "183", 5.0), ("19", "148", 1.0)},
        {"148": ("tag 27", "tag 9"), "183": ("tag 8",)},
        LeftOut(),
    ),
    (
        "kuairand",
        kuairand,
        {("0", "7", 5.0), ("0", "8", 1.0), ("5", "7", 1.0)},
        {"7": ("tag 12", "tag 65"), "8": ()},
        LeftOut(),
    ),
    (
        "amazon-2018",
        amazon_2018,
        {("A2", "Emma", 5.0), ("A1", "B2", 2.0), ("A1", "Emma", 4.0)},
        SOLD,
        LeftOut(),
    ),
    (
        "amazon-2023",
        amazon_2023,
        {("A2", "Emma", 5.0), ("A1", "B2", 2.0), ("A1", "Emma", 4.0)},
        SOLD,
        LeftOut(),
    ),
    (
        "steam-australia",
        steam_australia,
        {("ann", "Counter-Strike", 6.0), ("ann", "Doom", 90.0)},
        {"Counter-Strike": ("Action", "Indie"), 'Team "Fortress"': (), "Doom": ()},
        LeftOut(unrated=1, merged=3),
    ),
    (
        "goodreads",
        goodreads,
        {("e1", "Emma", 5.0), ("e1", "Dune", 2.0)},
        BOOKS,
        LeftOut(unrated=1),
    ),
    (
        "goodreads",
        goodreads_table,
        {("0", "Emma", 5.0), ("0", "Dune", 2.0)},
        BOOKS,
        LeftOut(unrated=1),
    ),
    (
        "yelp",
        yelp,
        {("m", "Abby", 3.0), ("m", "Abby (2)", 1.0)},
        {"Abby": ("Doctors", "Health & Medical"), "Abby (2)": ()},
        LeftOut(),
    ),
    (
        "book-crossing",
        book_crossing,
        {("276726", 'Em"ma"; ou Café', 5.0), ("276726", "05", 1.0)},
        {'Em"ma"; ou Café': ("Élan Vital",), "034545104X": (), "05": ()},
        LeftOut(unrated=1),
    ),
]
NAMES = [write.__name__ for _, write, *_ in LAYOUTS]


def reading(kind: str, source: Path) -> Interactions:
    return FORMATS.named(kind).read(source, Columns())


def rows_of(data: Interactions) -> list[tuple[str, str, float]]:
    columns = data.users.tolist(), data.items.tolist(), data.values.tolist()
    return [
        (data.user_names[user], data.titles[item], value)
        for user, item, value in zip(*columns, strict=True)
    ]


@pytest.mark.parametrize(("kind", "write", "rated", "categories", "out"), LAYOUTS, ids=NAMES)
def test_a_layout_is_read(
    kind: str,
    write: Callable[[Path], None],
    rated: Rated,
    categories: Categories,
    out: LeftOut,
    tmp_path: Path,
) -> None:
    """Who rated what how, what items are, and what was left out."""
    write(tmp_path)
    data = reading(kind, tmp_path)
    assert {*rows_of(data)} == rated
    assert dict(zip(data.titles, data.categories, strict=True)) == categories
    assert data.left_out == out


@pytest.mark.parametrize(("kind", "write"), [one[:2] for one in LAYOUTS], ids=NAMES)
def test_each_file_of_a_layout_is_needed(
    kind: str, write: Callable[[Path], None], tmp_path: Path
) -> None:
    """What is not there is named, and the files that are read are kept with their digests."""
    write(tmp_path)
    files = [*tmp_path.rglob("*.*")]
    assert {file.name for file in reading(kind, tmp_path).files} == {path.name for path in files}
    for path in files:
        if path.name.startswith("log_standard"):
            continue  # one of them is enough
        moved = path.rename(path.with_name("away"))
        with pytest.raises(DataError, match=r"holds no |expected one file of reviews"):
            reading(kind, tmp_path)
        moved.rename(path)


@pytest.mark.parametrize(
    ("write", "kind", "last"),
    [
        (kuairec, "kuairec", "183"),
        (kuairand, "kuairand", "8"),
        (amazon_2018, "amazon-2018", "Emma"),
        (goodreads, "goodreads", "Emma"),
        (yelp, "yelp", "Abby"),
    ],
)
def test_the_latest_stands_last(
    write: Callable[[Path], None], kind: str, last: str, tmp_path: Path
) -> None:
    """Seconds, milliseconds and dates with a zone say what came after what."""
    write(tmp_path)
    assert rows_of(reading(kind, tmp_path))[-1][1] == last


@pytest.mark.parametrize(
    "line",
    ["{'user_id': 1}", "{'user_id': 'a', 'items': f()}", "{" * 5_000, "'" + "a" * (5 << 20) + "'"],
)
def test_a_literal_that_is_none_is_placed(tmp_path: Path, line: str) -> None:
    """No line is run, and none may take the memory."""
    steam_australia(tmp_path)
    path = tmp_path / "australian_users_items.json"
    lines(path, line)
    with pytest.raises(DataError) as caught:
        reading("steam-australia", tmp_path)
    assert str(caught.value).startswith(f"{path}:1: ")


@pytest.mark.parametrize("row", ["0 5", "0 x 1", "0 9 1"])
def test_a_wrong_line_of_a_matrix_is_placed(tmp_path: Path, row: str) -> None:
    """Lines of another length, words, and ratings that there are none of."""
    coat(tmp_path)
    lines(tmp_path / "train.ascii", "0 5 0", row)
    with pytest.raises(DataError, match=r"train\.ascii:2: "):
        reading("coat", tmp_path)


def test_ratings_at_random_stand_beside(tmp_path: Path) -> None:
    """What users chose, too, is not among them, and the core renumbers them with the rest."""
    coat(tmp_path)
    data = reading("coat", tmp_path)
    assert data.randomised is not None
    shown = data.randomised
    assert [*zip(shown.users.tolist(), shown.items.tolist(), strict=True)] == [(0, 0), (1, 1)]
    assert shown.ratings.tolist() == [3.0, 4.0]
    kept = core(replace(data, users=data.users * 0 + 1), min_user=1, min_item=1)
    assert kept.randomised is not None
    assert (kept.user_names, kept.randomised.users.tolist()) == (("user 1",), [0])
    assert (kept.randomised.items.tolist(), kept.randomised.ratings.tolist()) == ([1], [4.0])


@pytest.mark.parametrize("name", ["item_features.ascii", "item_features_map.txt"])
def test_features_must_fit(tmp_path: Path, name: str) -> None:
    """A coat too few, or a name."""
    coat(tmp_path)
    path = tmp_path / "user_item_features" / name
    lines(path, *path.read_text().splitlines()[1:])
    with pytest.raises(DataError, match=r"expected (matrices of one shape|\d names)"):
        reading("coat", tmp_path)
