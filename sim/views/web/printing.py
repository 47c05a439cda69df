"""A page as PDF, by a browser that is at hand; it opens no window and reaches nowhere."""

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from engine.errors import ConfigError, FileError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
"""Names of browsers that print; the first that is on the PATH does."""

_PATIENCE = 180  # seconds
_SWITCHES = (
    *("--headless", "--disable-gpu", "--no-first-run", "--disable-extensions"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--host-resolver-rules=MAP * ~NOTFOUND", "--no-pdf-header-footer"),
)


def printer() -> str:
    """Return the path of a browser; raises ConfigError if there is none."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        hint = "install chromium, or print the report from a browser of your own"
        raise ConfigError("--pdf needs Chromium, and there is none on the PATH", hint=hint)
    return found


def print_pdf(html: str, path: Path) -> None:
    """Print *html* to *path*; raises ConfigError without a browser, FileError if it fails."""
    browser = printer()
    with TemporaryDirectory() as place:
        page, made = Path(place, "page.html"), Path(place, "page.pdf")
        page.write_text(html, encoding="utf-8")
        command = [
            *(browser, *_SWITCHES, *_unboxed(), f"--user-data-dir={place}/profile"),
            *(f"--print-to-pdf={made}", page.as_uri()),
        ]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=_PATIENCE)
            shutil.copyfile(made, path)
        except (OSError, subprocess.SubprocessError) as error:
            raise FileError(f"{path}: {browser} did not print it: {error}") from error


def _unboxed() -> list[str]:
    """Return what a superuser's browser needs: Chromium's own sandbox refuses to be root's."""
    return ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
