"""Pictures in metadata: Dagster shows Markdown, and Markdown takes a picture as it is.

Belongs here: a picture as Markdown. Does not belong here: drawing (`models.plots`).
"""

from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO


def picture(name: str, png: bytes) -> str:
    """A PNG as Markdown."""
    return f"![{name}](data:image/png;base64,{b64encode(png).decode()})"


def shares(name: str, was: Sequence[int], now: Sequence[int]) -> str:
    """The shares of each bin of a column before and now, as Markdown."""
    from models.plots import shares_figure  # noqa: PLC0415  matplotlib takes a moment, for whom something has drifted

    drawn = BytesIO()
    shares_figure(name, was, now).savefig(drawn, format="png")
    return picture(name, drawn.getvalue())
