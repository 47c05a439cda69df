"""What tests of pages in a browser share."""

from tests.support.browser import chromium, noted, page, screenshot

__all__ = ["chromium", "noted", "page", "screenshot"]
