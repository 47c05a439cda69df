"""KuaiRec: how much of each short video its viewers watched, nearly without gaps.

The layout is that of https://github.com/chongminggao/KuaiRec (README.md and loaddata.py). A video
that was watched to its end once is rated 3, one that was not begun 1, twice or more is 5.
"""

from functools import partial
from pathlib import Path

from storage.datasets.collecting import collect, descriptions
from storage.datasets.delimited import delimited
from storage.datasets.format import Columns, Format
from storage.datasets.interactions import Interactions
from storage.datasets.marks import Marks
from storage.datasets.sources import Source, files_in
from storage.datasets.table_files import Table

COLUMNS = Columns("user_id", "video_id", "watch_ratio", "timestamp")
MARKS = Marks(scale=(0.0, 2.0), open=True)


def read(source: Path, _: Columns) -> Interactions:
    """Return the views of the small matrix in directory *source*, or of the big one without it.

    Views without a time stand first.
    """
    views = Source(files_in(source, "small_matrix.csv*", "big_matrix.csv*")[0])
    tags = Source(files_in(source, "item_categories.csv*")[0])
    about = Columns(item="video_id", categories="feat")
    return collect(
        delimited(views, ","),
        COLUMNS,
        MARKS,
        times=partial(Table.times, unknown=0.0),
        described=descriptions(delimited(tags, ","), about, split_tags),
        sources=[views, tags],
    )


def split_tags(text: str) -> list[str]:
    """Return "tag 27" and "tag 9" of "[27, 9]"."""
    return [f"tag {number}" for number in text.strip("[]").replace(",", " ").split()]


FORMAT = Format(
    summary="KuaiRec: a directory with small_matrix.csv (or big_matrix.csv) and"
    " item_categories.csv",
    read=read,
)
