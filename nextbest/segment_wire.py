"""What clients of Segment's send and are answered: the bodies of its HTTP API, as far as they are read.

Belongs here: the types of its messages, from which OpenAPI is made, and the limits that Segment sets. Does not belong
here: what becomes of a message (`nextbest.segment`), or the bodies of our own API (`nextbest.wire`).
Source: Segment's Spec (common fields, and one page for each call) and its HTTP API.
"""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from nextbest.row_check import CONTROL, ID_LENGTH
from nextbest.wire import Verdict, Whole

BATCH_BYTES = 500 * 1_024
MESSAGE_BYTES = 32 * 1_024
BATCH_LIMIT = 2_500
"""Most messages of a batch; the shortest would fit in ten times as often."""

_Point = Annotated[
    float, Meta(multiple_of=1, ge=1_024.0 - 2.0**63, le=2.0**63 - 1024.0, extra_json_schema={"type": "integer"})
]
_Number = Whole | _Point
"""A whole number, which some clients send for an id; as JSON Schema means it, 2.0 is one."""
_Id = Annotated[str, Meta(max_length=ID_LENGTH)] | _Number | None
_Name = Annotated[str, Meta(max_length=200)]
_WriteKey = Annotated[
    str | None, Meta(description="The API key, of clients that send it here and not as basic credentials.")
]
_SentAt = Annotated[
    datetime | None,
    Meta(description="When it was sent, by the sender's clock: what that clock is off by is taken out of `timestamp`."),
]


class SegmentMessage(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="type", tag=lambda name: name[7:].lower()
):
    """What the calls have in common. Traits, and whatever else is not named here, is neither read nor kept."""

    message_id: Annotated[
        Annotated[str, Meta(max_length=ID_LENGTH, extra_json_schema={"not": {"pattern": CONTROL}})] | None,
        Meta(description="A message counts once under its id, another one under it not at all; by default a digest."),
    ] = None
    user_id: _Id = None
    anonymous_id: _Id = None
    timestamp: Annotated[
        datetime | None,
        Meta(description="When it happened; in UTC where no time zone is said, now where it is missing."),
    ] = None
    original_timestamp: Annotated[
        datetime | None,
        Meta(description="Beside it `timestamp` is taken for corrected already, as Segment hands it on."),
    ] = None
    sent_at: _SentAt = None
    channel: Annotated[str | None, Meta(description="`mobile` is the channel `app`.")] = None
    context: Annotated[dict[str, Any] | None, Meta(description="Only `device.type` is read.")] = None
    properties: Annotated[dict[str, Any] | None, Meta(description="What the event's row has a column for is read.")] = (
        None
    )
    write_key: _WriteKey = None


class SegmentIdentify(SegmentMessage, frozen=True, kw_only=True):
    """Who somebody is."""


class SegmentTrack(SegmentMessage, frozen=True, kw_only=True):
    """What somebody did."""

    event: Annotated[_Name, Meta(min_length=1)]


class SegmentPage(SegmentMessage, frozen=True, kw_only=True):
    """A page that somebody saw."""

    name: _Name | None = None


class SegmentScreen(SegmentMessage, frozen=True, kw_only=True):
    """A screen of an app that somebody saw."""

    name: _Name | None = None


class SegmentAlias(SegmentMessage, frozen=True, kw_only=True):
    """Somebody who was called `previousId` is called `userId` now."""

    previous_id: Annotated[str, Meta(min_length=1, max_length=ID_LENGTH)] | _Number


class SegmentGroup(SegmentMessage, frozen=True, kw_only=True):
    """A group that somebody belongs to."""

    group_id: Annotated[_Name, Meta(min_length=1)] | _Number


MESSAGES = (SegmentIdentify, SegmentTrack, SegmentPage, SegmentScreen, SegmentAlias, SegmentGroup)
"""One for each call."""
AnyMessage = SegmentIdentify | SegmentTrack | SegmentPage | SegmentScreen | SegmentAlias | SegmentGroup


class SegmentBatch(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Messages, each with its `type`; one that is not valid is rejected by itself."""

    batch: Annotated[tuple[msgspec.Raw, ...], Meta(min_length=1, max_length=BATCH_LIMIT)]
    sent_at: _SentAt = None
    write_key: _WriteKey = None


class SegmentResponse(msgspec.Struct, frozen=True, kw_only=True):
    """What became of each message, in the order sent; accepted ones are durable."""

    success: bool
    accepted: int
    duplicates: int
    rejected: int
    results: tuple[Verdict, ...]
