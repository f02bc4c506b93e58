"""Rejected rows of the API: what is known of each, and which are the same.

Belongs here: what the door says and what the quarantine keeps. Does not belong here: the quarantine itself
(`nextbest.adapters.quarantine`), why a row is rejected (`nextbest.row_check`), or those of files, which are columns
(`nextbest.validation.REJECTS`).
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from nextbest.wire import Taken


class Reject(msgspec.Struct, frozen=True, kw_only=True):
    """A row that the API rejects now: `row` as it was sent."""

    sender: str
    contract: Taken
    rule: str
    column: str
    reason: str
    row: Mapping[str, Any]
    sent_at: datetime | None = None


class Kept(Reject, frozen=True, kw_only=True):
    """A row in quarantine: how often it came, first and last."""

    id: str
    first_at: datetime
    last_at: datetime
    times: int


def id_of(reject: Reject) -> str:
    """The same for the same row that breaks the same rule, however often it is sent, by whom, and in whatever order."""
    said = msgspec.json.encode([reject.contract, reject.rule, reject.row], order="sorted")
    return hashlib.blake2b(said, digest_size=8).hexdigest()
