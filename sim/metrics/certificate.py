"""A certificate of determinism: whether a model says the same again, and beside how many calls."""

import re
from hashlib import sha256
from pathlib import Path

import msgspec

from engine.errors import ConfigError
from storage.reading import read_small

_MOST = 1 << 20  # bytes


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Where a pass parts from the first one: at which *word* of which *call*, both from 0."""

    call: int
    word: int


class Pass(msgspec.Struct, frozen=True, kw_only=True):
    """All calls once, *in_flight* of them together, of which the model takes so many *at_once*.

    *cold* is the first pass of a model that was just opened. Of its replies so many *agree* with
    those of the very first pass, byte for byte; *failed* are calls that got none.
    """

    in_flight: int
    at_once: int
    cold: bool
    agree: int
    failed: int
    seconds: float
    differs: Difference | None = None


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """What the same *calls* got in all *passes*, the first of which is what others are held to.

    *place* is where the model is; *digests* are the sha256 of models' files; *settings* are how a
    model of this machine was loaded.
    """

    model: str
    place: str
    calls: int
    temperature: float
    max_tokens: int
    passes: tuple[Pass, ...]
    digests: dict[str, str] = {}
    settings: dict[str, int | bool | str] = {}

    @property
    def sure(self) -> int:
        """With how many calls in flight, and fewer, everything agreed; 0 if not even alone."""
        levels = sorted({one.in_flight for one in self.passes})
        sound = 0
        for level in levels:
            if any(p.agree < self.calls for p in self.passes if p.in_flight == level):
                break
            sound = level
        return sound

    @property
    def says(self) -> str:
        """What it means for whoever trusts a seed, in a sentence."""
        most = max(one.in_flight for one in self.passes)
        worst = min(one.agree for one in self.passes)
        if self.sure == most:
            return (
                f"All {self.calls} replies were the same bytes in all {len(self.passes)} passes, "
                f"up to {most} in flight: a live run can be had twice, as far as {self.calls} "
                "calls show."
            )
        if self.sure:
            return (
                f"A seed decides a reply up to {self.sure} in flight only; beyond, as few as "
                f"{worst} of {self.calls} agreed: two live runs differ, a recorded one is replayed."
            )
        least = min(one.in_flight for one in self.passes)
        alone = min(one.agree for one in self.passes if one.in_flight == least)
        return (
            f"Not even with {least} in flight did each call get the same reply again: only "
            f"{alone} of {self.calls} agreed. A seed is no promise here, only a recording repeats "
            "a run."
        )


def first_difference(one: str, other: str) -> int:
    """Return the number of words that two replies begin with in common."""
    words, others = _words(one), _words(other)
    pairs = zip(words, others, strict=False)
    shorter = min(len(words), len(others))
    return next((place for place, (a, b) in enumerate(pairs) if a != b), shorter)


def _words(text: str) -> list[str]:
    return re.findall(r"\s*\S+|\s+$", text)


def read_certificate(path: Path) -> tuple[Certificate, str]:
    """Return what a file of `billp probe --out` says, and its sha256; raises ConfigError."""
    try:
        content = read_small(path, _MOST)
        certificate = msgspec.json.decode(content, type=Certificate)
    except OSError as error:
        what = f"{path}: cannot be read: {error.strerror}"
        raise ConfigError(what, hint="billp probe MODEL --out FILE writes one") from error
    except msgspec.MsgspecError as error:
        what = f"{path}: not a certificate: {error}"
        raise ConfigError(what, hint="billp probe MODEL --out FILE writes one") from error
    if not certificate.passes:
        raise ConfigError(f"{path}: not a certificate: it tells of no pass")
    return certificate, sha256(content).hexdigest()
