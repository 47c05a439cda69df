"""KuaiRand: which of the short videos that were shown to them users clicked.

The layout is that of https://github.com/chongminggao/KuaiRand (README.md), in its three sizes. A
click is rated 5, a video that was shown and not clicked 1.
"""

from itertools import chain
from pathlib import Path

from storage.datasets.building import Recipe
from storage.datasets.collecting import collect, descriptions
from storage.datasets.delimited import delimited
from storage.datasets.format import Columns, Format
from storage.datasets.interactions import Interactions
from storage.datasets.kuairec import split_tags
from storage.datasets.marks import Marks
from storage.datasets.sources import Source, files_in

COLUMNS = Columns("user_id", "video_id", "is_click", "time_ms")
MARKS = Marks(scale=(0.0, 1.0))


def read(source: Path, _: Columns) -> Interactions:
    """Return what the standard logs in directory *source* say; of a pair the last view counts."""
    logs = [Source(path) for path in files_in(source, "log_standard_*.csv*")]
    tags = [Source(path) for path in files_in(source, "video_features_basic_*.csv*")]
    about = chain.from_iterable(delimited(file, ",") for file in tags)
    return collect(
        chain.from_iterable(delimited(file, ",") for file in logs),
        COLUMNS,
        MARKS,
        described=descriptions(about, Columns(item="video_id", categories="tag"), split_tags),
        sources=[*logs, *tags],
    )


FORMAT = Format(
    summary="KuaiRand: a directory with log_standard_*.csv and video_features_basic_*.csv",
    read=read,
    recipe=Recipe(min_user=5, min_item=5),
)
