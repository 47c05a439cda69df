"""prompts.zst: the requests' texts, for people; a crash costs a frame and no more."""

from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from engine.errors import FileError
from storage.prompt_texts import (
    Gap,
    PromptText,
    PromptTexts,
    find_prompts,
    read_parts,
    read_prompts,
)


def text(number: int, length: int = 20) -> PromptText:
    return PromptText(request=f"{number:04x}", system="You advise.\n", text=f"é{number} " * length)


def written(path: Path, *numbers: int, length: int = 20) -> Path:
    """Add a frame with the texts called *numbers*."""
    texts = PromptTexts(path)
    for number in numbers:
        texts.add(text(number, length))
    texts.close()
    return path


def requests(path: Path) -> list[int]:
    return [int(found.request, 16) for found in read_prompts(path)]


def test_texts_are_read_in_the_order_of_asking(tmp_path: Path) -> None:
    path = written(tmp_path / "prompts.zst", 1, 2, 3)
    assert list(read_prompts(path)) == [text(1), text(2), text(3)]


def test_texts_are_found_by_request(tmp_path: Path) -> None:
    """In whichever frames they are; what is not there is left out, and no other is decoded."""
    path = written(written(tmp_path / "prompts.zst", 1, 2), 3, 4)
    wanted = [text(number).request for number in (2, 3, 9)]
    assert find_prompts(path, wanted) == {wanted[0]: text(2), wanted[1]: text(3)}
    assert find_prompts(tmp_path / "none", wanted) == find_prompts(path, []) == {}


def test_many_texts_take_many_frames(tmp_path: Path) -> None:
    """Texts are written while the run goes on, and much smaller than they are."""
    texts = PromptTexts(tmp_path / "prompts.zst")
    for number in range(100):
        texts.add(text(number, 5_000))
    assert 0 < len(requests(texts.path)) < 100
    texts.close()
    assert requests(texts.path) == list(range(100))
    assert texts.path.stat().st_size < 100_000


def test_a_long_text_is_read_whole(tmp_path: Path) -> None:
    """No text is too long for a frame."""
    path = written(tmp_path / "prompts.zst", 1, length=1_000_000)
    assert list(read_prompts(path)) == [text(1, 1_000_000)]


def test_a_resumed_run_goes_on_with_the_same_file(tmp_path: Path) -> None:
    path = written(tmp_path / "prompts.zst", 1, 2)
    assert requests(written(path, 3)) == [1, 2, 3]


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_torn_frame_costs_only_itself(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Wherever a crash cuts it, the frames before are there, and those of the resumed run."""
    path = written(tmp_path_factory.mktemp("prompts") / "prompts.zst", 1, 2)
    whole = path.stat().st_size
    written(path, 3, 4)
    cut = data.draw(st.integers(whole, path.stat().st_size - 1))
    path.write_bytes(path.read_bytes()[:cut])
    assert requests(path) == [1, 2]
    assert requests(written(path, 5)) == [1, 2, 5]


@given(data=st.data(), bit=st.integers(0, 7))
@settings(max_examples=100, deadline=None)
def test_a_damaged_frame_costs_only_itself(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, bit: int
) -> None:
    """A flipped bit loses the texts of its frame; nothing wrong is ever read."""
    path = written(tmp_path_factory.mktemp("prompts") / "prompts.zst", 1)
    written(written(path, 2), 3)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << bit
    path.write_bytes(content)
    read = list(read_prompts(path))
    assert len(read) >= 2
    assert all(found in (text(1), text(2), text(3)) for found in read)


def test_no_texts_are_no_error(tmp_path: Path) -> None:
    """A run without prompts has no file, or an empty one."""
    assert requests(written(tmp_path / "prompts.zst")) == []
    (tmp_path / "prompts.zst").write_bytes(b"")
    assert requests(tmp_path / "prompts.zst") == []


def test_other_tools_read_the_file(tmp_path: Path) -> None:
    """It is a plain zstandard file of one JSON object a line."""
    path = written(written(tmp_path / "prompts.zst", 1), 2)
    with zstandard.open(path, "rb", dctx=zstandard.ZstdDecompressor()) as file:
        assert file.read(14) == b'{"request":"00'


def test_a_path_that_cannot_be_written_is_named_once(tmp_path: Path) -> None:
    """In a warning: nothing depends on the texts, and no run is to end for them."""
    texts = PromptTexts(tmp_path / "missing" / "prompts.zst")
    with capture_logs() as log:
        for number in range(40):
            texts.add(text(number, 100_000))
        texts.close()
    assert [(entry["path"], entry["error"]) for entry in log] == [
        (str(texts.path), "No such file or directory")
    ]


def test_another_process_leaves_a_mark_and_others_skip_it(tmp_path: Path) -> None:
    """Once, before its first text: what the one before it had not written may lack."""
    path = written(tmp_path / "prompts.zst", 1)
    texts = PromptTexts(path, resumed=True)
    texts.add(text(2))
    texts.close()
    assert list(read_parts(path)) == [[text(1)], Gap.RESUMED, [text(2)]]
    with zstandard.open(path, "rb", dctx=zstandard.ZstdDecompressor()) as file:
        assert b"another process" not in file.read()


def test_a_process_that_asked_nothing_leaves_its_mark_at_the_end_of_the_run(tmp_path: Path) -> None:
    """If it only fails to go on, nothing changes."""
    path = written(tmp_path / "prompts.zst", 1)
    before = path.read_bytes()
    texts = PromptTexts(path, resumed=True)
    texts.close()
    assert path.read_bytes() == before
    texts.end()
    assert list(read_parts(path)) == [[text(1)], Gap.RESUMED]


def test_texts_that_are_none_are_said(tmp_path: Path) -> None:
    path = tmp_path / "prompts.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(b'{"request":7}\n'))
    with pytest.raises(FileError, match=r"prompts\.zst: not a request's text: "):
        requests(path)
