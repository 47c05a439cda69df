"""A data format of one's own: an environment built of lines of JSON."""

import json
from pathlib import Path

import numpy as np

from sim import RunConfig, run
from storage.datasets import build_environment
from storage.datasets.building import Recipe
from storage.datasets.format import Columns, Format
from storage.datasets.interactions import Description, Interactions, encode, gather


def read(source: Path, _: Columns) -> Interactions:
    rows = [json.loads(line) for line in source.read_text("utf-8").splitlines()]
    described = {row["film"]: Description(row["film"], tuple(row["genres"])) for row in rows}
    return gather(
        encode(row["who"] for row in rows),
        encode(row["film"] for row in rows),
        np.array([row["stars"] for row in rows], np.float64),
        scale="rating",
        described=described,
    )


LINES = Format(summary="Films and stars, one JSON object a line", read=read)

GENRES = ("Drama", "Comedy", "War")
Path("stars.jsonl").write_text(
    "\n".join(
        json.dumps(
            {
                "who": f"user {user}",
                "film": f"Film {film}",
                "genres": [GENRES[film % 3]],
                "stars": 1 + (user * film) % 5,
            }
        )
        for user in range(30)
        for film in range(60)
        if (user * film) % 7 < 4
    )
)

films = build_environment("__main__:LINES", Path("stars.jsonl"), Recipe(), name="films")
summary = run(RunConfig(agent="random", episodes=20), environment=films, out="films")

print(f"{films.head.users} users, {films.head.items} films, digest {films.head.digest[:12]}")
print(f"Len {summary.metrics.len:.1f}, R_traj {summary.metrics.r_traj:.1f}")
