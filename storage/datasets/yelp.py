"""Yelp's open data set: stars for businesses, and what kind of business each is.

The layout is that of https://www.yelp.com/dataset/documentation/main: JSON lines, categories as one
text with commas.
"""

from pathlib import Path

from storage.datasets.building import Recipe
from storage.datasets.collecting import collect, descriptions
from storage.datasets.format import Columns, Format
from storage.datasets.interactions import Interactions
from storage.datasets.json_lines import json_lines
from storage.datasets.sources import Source, files_in

COLUMNS = Columns("user_id", "business_id", "stars", "date", "name", "categories")


def read(source: Path, _: Columns) -> Interactions:
    """Return the reviews in directory *source*."""
    reviews = Source(files_in(source, "*review.json*")[0])
    places = Source(files_in(source, "*business.json*")[0])
    about = json_lines(places, ["business_id", "name", "categories"])
    return collect(
        json_lines(reviews, ["user_id", "business_id", "stars", "date"]),
        COLUMNS,
        described=descriptions(about, COLUMNS, lambda text: text.split(",")),
        sources=[reviews, places],
    )


FORMAT = Format(
    summary="Yelp: a directory with yelp_academic_dataset_review.json and …_business.json",
    read=read,
    recipe=Recipe(min_user=10, min_item=10),
)
