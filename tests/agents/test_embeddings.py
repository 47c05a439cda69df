"""Embeddings: the same bytes everywhere, and likeness of spelling."""

import asyncio
import os
import subprocess
import sys
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from agents.embeddings import DIMENSIONS, HashingEmbedder, hashed, to_unit
from engine.records import UNIT, Vector
from tests.support.drawn import CHARACTERS

TEXT = ("The Witcher® 3: Wild Hunt", "Ōkami – 大神", "")
GOLDEN = "7aa28f7679e622a79989c4d316ed078dd01fa61d60690e97d0e9f7ead8ce6861"

lines = st.lists(st.text(CHARACTERS, max_size=30), max_size=5).map(tuple)


def likeness(one: Vector, other: Vector) -> float:
    product = int(np.dot(one.astype(np.int64), other.astype(np.int64)))
    return product / UNIT**2


def test_a_text_has_the_golden_vector() -> None:
    """Traces depend on these bytes: a change of them must be meant."""
    assert sha256(hashed(TEXT).tobytes()).hexdigest() == GOLDEN


def test_other_processes_give_the_same_bytes() -> None:
    """Neither the seed of hashes nor the threads of BLAS leave a mark."""
    code = (
        "import sys; from agents.embeddings import hashed;"
        f"sys.stdout.buffer.write(hashed({TEXT!r}).tobytes())"
    )
    chosen = {"PYTHONHASHSEED": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    process = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, env=os.environ | chosen
    )
    assert process.stdout == hashed(TEXT).tobytes()


@given(lines)
@settings(deadline=None)
def test_every_vector_has_the_same_length(text: tuple[str, ...]) -> None:
    """256 small integers, about 127 long, whatever the text: even an empty one points somewhere."""
    vector = hashed(text)
    assert vector.dtype == np.int8
    assert vector.shape == (DIMENSIONS,)
    # Each of 256 numbers is rounded by at most a half.
    assert abs(np.linalg.norm(vector.astype(float)) - UNIT) <= 8


@given(text=lines, data=st.data())
@settings(deadline=None)
def test_the_order_of_lines_does_not_matter(text: tuple[str, ...], data: st.DataObject) -> None:
    """A text is the sum of its lines."""
    other = data.draw(st.permutations(text).map(tuple))
    assert hashed(text).tolist() == hashed(other).tolist()


def test_case_and_spaces_do_not_matter() -> None:
    assert hashed(("  the WITCHER\t3 ",)).tolist() == hashed(("The Witcher 3",)).tolist()


def test_similar_spelling_is_near() -> None:
    """Likeness of words, for titles and for whole texts."""
    witcher, sequel, other = (
        hashed((title,)) for title in ("The Witcher 2", "The Witcher 3", "Stardew Valley")
    )
    assert likeness(witcher, sequel) > 0.7
    assert abs(likeness(witcher, other)) < 0.2
    assert likeness(witcher, witcher) == pytest.approx(1, abs=0.05)


def test_nobody_changes_a_vector() -> None:
    """Whoever asks for the same text shares its vector, and can do it no harm."""
    with pytest.raises(ValueError, match="read-only"):
        hashed(("Emma",))[0] = 0


def test_the_embedder_is_the_function() -> None:
    vector = asyncio.run(HashingEmbedder().embed(list(TEXT)))
    assert vector.tolist() == hashed(TEXT).tolist()


def test_numbers_are_scaled_to_the_unit() -> None:
    """3 : 4 is 76.2 : 101.6 at a length of 127."""
    assert to_unit(np.array([3.0, 4.0])).tolist() == [76, 102]
    assert to_unit(np.array([-30, 40])).tolist() == [-76, 102]


@pytest.mark.parametrize("size", [1e-320, 1e-200, 1e153, 1e200, 1e308])
def test_the_size_of_numbers_does_not_matter(size: float) -> None:
    """Not even that of numbers whose squares are none."""
    numbers = np.array([0.75, -1.0, 0.0]) * size
    assert to_unit(numbers).tolist() == [76, -102, 0]


def test_nothing_points_anywhere() -> None:
    """A null vector has no direction, and still gets one."""
    assert to_unit(np.zeros(3)).tolist() == [UNIT, 0, 0]


@given(arrays(np.float64, 16, elements=st.floats(-1e6, -1e-6) | st.floats(1e-6, 1e6)))
@settings(deadline=None)
def test_scaling_by_two_changes_nothing(numbers: NDArray[np.float64]) -> None:
    """Only the direction counts."""
    assert to_unit(numbers * 2).tolist() == to_unit(numbers).tolist()


def test_a_very_long_line_does_not_wrap() -> None:
    """Counts beyond 16 bits: who says one thing a hundred thousand times says that thing."""
    often, oftener = hashed(["ab " * 100_000]), hashed(["ab " * 30_000])
    assert int(often.astype(int) @ oftener.astype(int)) > 0.99 * UNIT**2
