"""What tests draw, in common."""

from hypothesis import strategies as st

CHARACTERS = st.characters(exclude_categories=["Cs"])
"""All that UTF-8 can encode: as in `st.text()`, which tries a million of them first."""

TEXTS = st.text(CHARACTERS)
