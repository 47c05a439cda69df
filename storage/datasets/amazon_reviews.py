"""Reviews on Amazon, as of 2018 and of 2023: stars, and what is said of each product.

The layouts are those of https://nijianmo.github.io/amazon (2018) and of
https://amazon-reviews-2023.github.io (https://github.com/hyp1231/AmazonReviews2023).
"""

from functools import partial
from pathlib import Path

from engine.errors import DataError
from storage.datasets.building import Recipe
from storage.datasets.collecting import collect, descriptions
from storage.datasets.format import Columns, Format
from storage.datasets.interactions import Interactions
from storage.datasets.json_lines import json_lines
from storage.datasets.sources import Source, files_in

OF_2018 = Columns("reviewerID", "asin", "overall", "unixReviewTime", "title", "category")
OF_2023 = Columns("user_id", "parent_asin", "rating", "timestamp", "title", "categories")


def read(layout: Columns, source: Path, _: Columns) -> Interactions:
    """Return the reviews in directory *source*, whose other file, meta_*, tells of products."""
    meta = Source(files_in(source, "meta_*.json*")[0])
    files = [path for path in files_in(source, "*.json*") if not path.name.startswith("meta_")]
    if len(files) != 1:
        raise DataError(
            f"{source}: expected one file of reviews beside {meta.path.name}, got {len(files)}",
            hint="give each category a directory of its own",
        )
    reviews = Source(files[0])
    wanted = [layout.user, layout.item, layout.rating or "", layout.time or ""]
    told = [layout.item, layout.title or "", layout.categories or ""]
    return collect(
        json_lines(reviews, wanted),
        layout,
        described=descriptions(json_lines(meta, told), layout, lambda text: text.split("|")),
        sources=[reviews, meta],
    )


RECIPE = Recipe(min_user=5, min_item=5)
FORMAT_2018 = Format(
    summary="Amazon reviews of 2018: a directory with Books_5.json.gz and meta_Books.json.gz, say",
    read=partial(read, OF_2018),
    recipe=RECIPE,
)
FORMAT_2023 = Format(
    summary="Amazon reviews of 2023: a directory with Books.jsonl.gz and meta_Books.jsonl.gz, say",
    read=partial(read, OF_2023),
    recipe=RECIPE,
)
