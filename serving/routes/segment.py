"""The HTTP API of Segment, so that its clients can send here what they send there.

Belongs here: its bodies and statuses. Does not belong here: how messages are taken in (`serving.segment_messages`), or
what they come to (`nextbest.segment`).

No client of Segment's sends a message again after 400, 401, 403, 409, 413 or 415; after 429 and 503 each does.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPMethod, HTTPStatus
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from nextbest.intake import KEY
from nextbest.segment import legible
from nextbest.segment_wire import (
    BATCH_BYTES,
    MESSAGE_BYTES,
    MESSAGES,
    AnyMessage,
    SegmentBatch,
    SegmentResponse,
)
from nextbest.wire import FieldError
from serving import bodies, responses
from serving.operations import Operation
from serving.problems import ProblemError
from serving.segment_messages import SegmentMessages, Unread

_Body = SegmentBatch | AnyMessage
_batch: "msgspec.json.Decoder[_Body]" = msgspec.json.Decoder(SegmentBatch)
_message: "msgspec.json.Decoder[AnyMessage]" = msgspec.json.Decoder(AnyMessage)


@dataclass(frozen=True, slots=True)
class Segment:
    """The operations of Segment's HTTP API."""

    messages: SegmentMessages

    def operations(self) -> Iterator[Operation]:
        yield self._operation("batch", SegmentBatch, "Say what happened, in messages each with its type")
        for each in MESSAGES:
            call = str(each.__struct_config__.tag)
            yield self._operation(call, each, f"Say what happened, in one message of the type {call}")

    def _operation(self, call: str, body: type, summary: str) -> Operation:
        decoder, limit = (_batch, BATCH_BYTES) if body is SegmentBatch else (msgspec.json.Decoder(body), MESSAGE_BYTES)

        async def write_key(request: Request) -> str | None:
            try:
                return (await _body(request, decoder, limit)).write_key
            except ProblemError:
                return None  # who says nothing that can be read says no key either

        async def take(request: Request) -> Response:
            sent = await _body(request, decoder, limit)
            if isinstance(sent, SegmentBatch):
                messages = [_read(each) for each in sent.batch]
                return await self._taken(messages, sent.sent_at, request.state.sender, "#/batch/{}")
            return await self._taken([sent], None, request.state.sender, "#")

        return Operation(
            method=HTTPMethod.POST,
            path=f"/v1/{call}",
            name=f"segment{call.capitalize()}",
            summary=(
                f"{summary}, as clients of Segment's do; 200 once what is accepted is durable, 400 when no message is "
                "valid, 409 when the id of each is another message's"
            ),
            handler=take,
            scope="events",
            write_key=write_key,
            body=body,
            invalid=HTTPStatus.BAD_REQUEST,
            answers={HTTPStatus.OK: SegmentResponse},
            problems=(HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE),
        )

    async def _taken(
        self, messages: Sequence[AnyMessage | Unread], sent_at: datetime | None, sender: str, pointer: str
    ) -> Response:
        taken = await self.messages.take(messages, sent_at, sender)
        if taken.rejected == len(messages):
            errors = tuple(FieldError(each.reason, pointer.format(index)) for index, each in enumerate(taken.results))
            if all(each.rule == KEY for each in taken.results):
                raise ProblemError(HTTPStatus.CONFLICT, "every message has the messageId of another one", errors)
            raise ProblemError(HTTPStatus.BAD_REQUEST, "no message can be taken in", errors)
        return responses.json(taken)


async def _body(request: Request, decoder: "msgspec.json.Decoder[_Body]", limit_bytes: int) -> _Body:
    """The body, read once: the gate may have looked for the key in it."""
    if not hasattr(request.state, "segment"):
        content = await bodies.content(request, limit_bytes)
        try:
            request.state.segment = bodies.decoded(_whole(content), decoder)
        except ProblemError as error:
            raise ProblemError(HTTPStatus.BAD_REQUEST, error.details.detail, error.details.errors) from error
    body: _Body = request.state.segment
    return body


def _whole(content: bytes) -> bytes:
    """JSON as other encoders write it, in what all take for JSON.

    A text that was cut within a character ends in half a pair of surrogates, and no number is one (`NaN`). The whole
    batch must not be lost for it.
    """
    try:
        msgspec.json.decode(content, type=msgspec.Raw)
    except msgspec.DecodeError:
        try:
            read = _lenient(content)
        except (ValueError, RecursionError):
            return content
        return json.dumps(read, ensure_ascii=False).encode(errors="replace")
    except RecursionError:
        pass
    return content


def _lenient(content: bytes) -> Any:
    return bodies.lenient(content, _nothing, _nothing)


def _nothing(_: str) -> None:
    """Stands for a number that is none, or larger than any."""


def _read(sent: msgspec.Raw) -> AnyMessage | Unread:
    content = bytes(sent)
    if len(content) > MESSAGE_BYTES:
        reason = f"the message has {len(content):,} bytes: it may have {MESSAGE_BYTES:,}"
        return Unread(reason, _kept(content))
    try:
        return bodies.decoded(content, _message)
    except ProblemError as error:
        return Unread(error.details.detail, _kept(content))


def _kept(content: bytes) -> Any:
    """What may be kept of a message that cannot be taken apart; of one that is too large the beginning, as text."""
    try:
        said = legible(_lenient(content.decode(errors="replace").encode()))
    except (ValueError, RecursionError):
        return None  # nobody can say what of it may be kept
    if bodies.is_deep(said):
        return None
    written = msgspec.json.encode(said)
    return said if len(written) <= MESSAGE_BYTES else written[:MESSAGE_BYTES].decode(errors="ignore")
