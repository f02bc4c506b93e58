"""The demo's last weeks: real purchases and redemptions, as live events through the API, and what one of them changes.

Belongs here: sending what the source holds back, and asking for a customer's decision before and after an event. Does
not belong here: where the rows come from (the source), or what they do (the API).
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import msgspec
from rich.console import Console
from rich.progress import track
from rich.table import Table

from nextbest.adapters.sources import load_source
from nextbest.errors import NextbestError
from nextbest.settings import Settings
from nextbest.source import LiveSource

_EVENTS_PER_CALL: Final = 500
_TIMEOUT_S: Final = 30
_PLACEMENTS: Final = ("home_banner", "app_message", "email_hero")
_SEEN_WITHIN_S: Final = 5.0
_TRIES: Final = 500
"""Decisions that are asked for until exploration falls on the offer that is to be redeemed."""
_TO_COME: Final = 40
"""So many of the latest redemptions are looked at for one whose offer the customer would be shown at that moment."""

Row = dict[str, Any]


class ReplayError(NextbestError):
    """The API took an event otherwise than it should, or no decision saw it."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A decision before and after an event, and what the event did to the action that it was about."""

    customer_id: str
    action: str
    occurred_at: str
    placement: str
    before: str
    after: str
    reason: str
    """Why the action is not decided any more."""
    seen_after_ms: float
    """From the acknowledgement to the answer of the first decision that the event changed."""


@dataclass(slots=True)
class LastWeeks:
    """What the source holds back, sent in the order in which it happened; the latest redemptions come after a while."""

    settings: Settings
    key: str
    """Of the API."""
    sent: Counter[str] = field(default_factory=Counter)
    """By contract."""
    to_come: list[Row] = field(default_factory=list)
    """Redemptions."""

    def replay(self, console: Console) -> None:
        """Send everything but the latest redemptions.

        Raises:
            ReplayError: a row was rejected.

        """
        happened = list(self._live())
        self.to_come = [row for contract, row in happened if contract == "outcomes"][-_TO_COME:]
        first = [(contract, row) for contract, row in happened if contract != "outcomes" or row not in self.to_come]
        with self._client() as client:
            batches = [first[start : start + _EVENTS_PER_CALL] for start in range(0, len(first), _EVENTS_PER_CALL)]
            for batch in track(batches, "events through the API", console=console, transient=True):
                self._send(client, batch)

    def change(self) -> Change | None:
        """Send the rest, first the one that changes a decision most; returns what it changed, if there was one.

        Raises:
            ReplayError: a row was rejected, or no decision saw the change.

        """
        with self._client() as client:
            telling = self._telling(client)
            change = None if telling is None else self._change(client, telling)
            left = [("outcomes", row) for row in self.to_come if telling is None or row is not telling.row]
            if left:
                self._send(client, left)
            return change

    def _live(self) -> Iterator[tuple[str, Row]]:
        source = load_source(self.settings)
        return source.live() if isinstance(source, LiveSource) else iter(())

    def _telling(self, client: httpx.Client) -> "_Asked | None":
        """Of what is to come the first whose offer is decided for the customer now, or the likeliest to be.

        None where nothing could be: in a home where all of it has come already every such offer rests.
        """
        best: _Asked | None = None
        for row in reversed(self.to_come):
            for placement in _PLACEMENTS:
                asked = _Asked.of(row, placement, self._decide(client, row["customer_id"], placement))
                if asked.decided == row["action"]:
                    return asked
                if not asked.reason and asked.likelihood > (best.likelihood if best else 0.0):
                    best = asked
        return best and self._until_decided(client, best)

    def _until_decided(self, client: httpx.Client, asked: "_Asked") -> "_Asked":
        """A decision that proposes the offer, as one of many does: each draws anew."""
        for _ in range(_TRIES):
            if asked.decided == asked.row["action"]:
                break
            said = self._decide(client, asked.row["customer_id"], asked.placement)
            asked = _Asked.of(asked.row, asked.placement, said)
        return asked

    def _change(self, client: httpx.Client, last: "_Asked") -> Change:
        self._send(client, [("outcomes", last.row)])
        began = time.monotonic()
        while time.monotonic() - began < _SEEN_WITHIN_S:
            after = _Asked.of(last.row, last.placement, self._decide(client, last.row["customer_id"], last.placement))
            if after.reason and after.reason != last.reason:
                return Change(
                    customer_id=last.row["customer_id"],
                    action=last.row["action"],
                    occurred_at=f"{last.row['occurred_at']:%Y-%m-%d %H:%M}",
                    placement=last.placement,
                    before=last.decided,
                    after=after.decided,
                    reason=after.reason,
                    seen_after_ms=round(1_000 * (time.monotonic() - began), 1),
                )
        raise ReplayError(
            f"no decision saw in {_SEEN_WITHIN_S:.0f} s that {last.row['customer_id']} redeemed {last.row['action']}: "
            "`nextbest log status` says whether events are applied"
        )

    def _decide(self, client: httpx.Client, customer_id: str, placement: str) -> Any:
        body = {
            "customer": {"customer_id": customer_id},
            "placements": [placement],
            "dry_run": True,
            "include": ["explanation"],
        }
        return _json(client.post("/v1/decisions", json=body))

    def _send(self, client: httpx.Client, batch: Sequence[tuple[str, Row]]) -> None:
        events = [{"contract": contract, "properties": row} for contract, row in batch]
        taken = _json(client.post("/v1/events", content=msgspec.json.encode({"events": events})))
        if taken["rejected"]:
            why = next(result["reason"] for result in taken["results"] if result["status"] == "rejected")
            raise ReplayError(f"the API rejected {taken['rejected']} of the last weeks' events: {why}")
        self.sent.update(contract for contract, _ in batch)

    def _client(self) -> httpx.Client:
        address = f"http://{self.settings.host}:{self.settings.http_port}"
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        return httpx.Client(base_url=address, headers=headers, timeout=_TIMEOUT_S)


class _Asked(msgspec.Struct, frozen=True):
    """A redemption, and what is decided for the customer at a placement: how the redeemed action fares there."""

    row: Row
    placement: str
    decided: str
    likelihood: float
    reason: str

    @classmethod
    def of(cls, row: Row, placement: str, said: Any) -> "_Asked":
        of_action: Row = next((each for each in said["explanation"] if each["action"] == row["action"]), {})
        decided = said["placements"][0]["slots"][0]["action"]
        return cls(row, placement, decided, of_action.get("selection_probability") or 0.0, of_action.get("reason", ""))


def table(change: Change) -> Table:
    """What happened, and the decision before and after it."""
    shown = Table("customer", "redeemed at the till", "placement", "before", "after", "why not again", box=None)
    redeemed = f"{change.action}, {change.occurred_at}"
    shown.add_row(change.customer_id, redeemed, change.placement, change.before, change.after, change.reason)
    return shown


def _json(response: httpx.Response) -> Any:
    if not response.is_success:
        asked = f"{response.request.method} {response.request.url.path}"
        raise ReplayError(f"{asked}: {response.status_code}: {response.text}")
    return response.json()
