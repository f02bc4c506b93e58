"""Links between customers in a home: what was proposed last, and what the log says has become of each pair.

Belongs here: one file, and reading the log's entries about pairs and erasures. Does not belong here: what follows from
them (`nextbest.links`). The file holds pseudonymous ids and levels of agreement; of what identifies a person, nothing.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from nextbest.adapters.files import write_whole
from nextbest.adapters.logs import OpenLog
from nextbest.envelope import Envelope
from nextbest.erasure import ERASURE
from nextbest.errors import NextbestError
from nextbest.identity import names_in
from nextbest.links import Pair, Proposals, Verdict, verdicts

_NO_CONTRACT = ""
"""Under which the log files what no contract has rows of."""
_PAGE = 5_000


class ProposalsError(NextbestError):
    """What was proposed last cannot be read; the message says what makes it anew."""


def read_proposals(path: Path) -> Proposals | None:
    """What was proposed last; none where nothing was yet.

    Raises:
        ProposalsError: the file holds something else, or is not to be read.

    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Proposals)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ProposalsError(
            f"{path} cannot be read ({error}): remove it, and `nextbest pipeline` makes it anew"
        ) from error


def write_proposals(path: Path, proposals: Proposals) -> None:
    """Put them in place of the last ones."""
    write_whole(path, msgspec.json.format(msgspec.json.encode(proposals)) + b"\n")


def read_verdicts(log: OpenLog) -> Mapping[Pair, Verdict]:
    """What the log says of each pair; it reads only what no contract has rows of, which is little.

    Raises:
        LogUnavailableError: the log cannot be read.

    """
    return verdicts(_entries(log))


def read_erased(log: OpenLog) -> set[str]:
    """All names that whoever was erased went by.

    Raises:
        LogUnavailableError: the log cannot be read.

    """
    return {name for entry in _entries(log) if entry.type == ERASURE for name in names_in(entry)}


def _entries(log: OpenLog) -> Iterator[Envelope]:
    for arrived in log.arrived_sync(_NO_CONTRACT):
        after = 0
        while page := log.of_day_sync(arrived, after, _PAGE):
            after = page[-1][0]
            yield from (entry for _, entry in page)
