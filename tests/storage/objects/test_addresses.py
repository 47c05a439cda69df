"""Addresses are what they seem, or are refused in a sentence that tells no secret."""

from pathlib import Path

import pytest

from engine.errors import BillpError, ConfigError
from storage.datasets import check_free as check_environment
from storage.datasets import open_environment
from storage.objects.addresses import is_address, parse_address
from storage.runs import check_free, open_run

GOOD = {
    "s3://bucket/runs/first": ("s3", "bucket", "runs/first"),
    "gs://my.bucket-1/agent=billp seed=1": ("gs", "my.bucket-1", "agent=billp seed=1"),
    "az://container/läufe/": ("az", "container", "läufe"),
    "file:///shared/runs": ("file", "", "shared/runs"),
    "s3://bucket": ("s3", "bucket", ""),
}
BAD = [
    *("runs/first", "s3:/bucket/a", "https://bucket/a", "S3://bucket", "memory://a", ""),
    *("s3:///a", "s3://b?x=1", "s3://-", "s3://bucket//a", "s3://bucket/../a", "s3://bucket/./a"),
    *("s3://bucket/a%2fb", "s3://bucket/a?b", "s3://bucket/a#b", "s3://bucket/a\\b"),
    *("s3://bucket/a\nb", "s3://bucket/\u202ea", f"s3://bucket/{'a' * 1_001}", "file://runs/a"),
]


@pytest.mark.parametrize("text", GOOD)
def test_an_address_has_a_scheme_a_bucket_and_a_way(text: str) -> None:
    found = parse_address(text)
    assert (found.scheme, found.bucket, found.key) == GOOD[text]
    assert str(found) == text.rstrip("/")


@pytest.mark.parametrize("text", BAD)
def test_what_services_would_read_differently_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected an address"):
        parse_address(text)


def test_credentials_in_an_address_are_told_to_nobody() -> None:
    """They come from the environment; what was typed by mistake stays out of every log."""
    with pytest.raises(ConfigError) as refused:
        parse_address("s3://AKIA:SECRET@bucket/runs")
    assert "SECRET" not in f"{refused.value} {refused.value.hint}"


@pytest.mark.parametrize("path", [Path("s3://bucket/run"), Path("FILE:///run"), "gs://bucket/run"])
def test_an_address_is_known_also_where_it_was_taken_for_a_path(path: Path | str) -> None:
    assert is_address(path)
    assert not is_address(Path("runs") / "s3:" / "x")


def test_nothing_is_opened_or_written_at_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory called `s3:` would hold what its owner looks for in a bucket."""
    monkeypatch.chdir(tmp_path)
    place = Path("s3://bucket/run")
    for use in (check_free, check_environment, open_run, lambda path: open_environment(str(path))):
        with pytest.raises(BillpError, match="is an address"):
            use(place)
    assert [*tmp_path.iterdir()] == []
