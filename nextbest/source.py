"""Where data comes from: the interface every source of data implements, and the slug its categories become actions by.

Belongs here: what the rest of the house may know of a source. Does not belong here: any particular source
(`nextbest.adapters`), or the columns it supplies (`data_contracts/`).
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

_SEPARATORS = re.compile(r"[^a-z0-9]+")


class Source(Protocol):
    """Supplies tables under contracts; built as `Class(settings)` from the setting `NEXTBEST_SOURCE`."""

    name: str

    def contracts(self) -> Sequence[str]:
        """Names of the contracts this source supplies, in an order in which references are supplied first."""
        ...

    def read(self, contract: str) -> pa.Table:
        """All rows of one contract, in the contract's columns and types; the same state gives the same rows."""
        ...

    def fingerprint(self, contract: str) -> str:
        """Changes when `read` would give other rows under the same contract; much cheaper than reading."""
        ...


@runtime_checkable
class DerivedSource(Source, Protocol):
    """A source whose rows are made of what has landed under other contracts."""

    def reads(self, contract: str) -> Sequence[str]:
        """Names of the contracts whose landed rows `read` is made of."""
        ...


@runtime_checkable
class LiveSource(Source, Protocol):
    """A source whose last weeks may be held back, to come through the API as if they happened now."""

    def live(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Contract and row of what is held back, in the order in which it happened."""
        ...

    def keep(self) -> None:
        """Have the home know which part of the data it takes, for whoever lands it next and is not told.

        What was held back comes as events: landed as well, it would have happened twice.
        """
        ...


def slug(text: str) -> str:
    """Turn a category or a department into an id: lower case, every run of other characters one underscore.

    >>> slug("FRZN MEAT/MEAT DINNERS")
    'frzn_meat_meat_dinners'
    """
    return _SEPARATORS.sub("_", text.lower()).strip("_")
