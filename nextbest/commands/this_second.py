"""The demo's customer of this second: a login, what was just looked at, a cap over two channels, an answer.

Belongs here: saying over the API what one customer does, and what the next decisions make of it. Does not belong here:
who else comes (`nextbest.commands.rehearsal`), or what any of it does (the API).
"""

import hashlib
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import cycle
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
from rich.table import Table

from nextbest.client import Client, Customer
from nextbest.errors import NextbestError
from nextbest.records import DO_NOTHING, DecisionRecord, SlotRecord
from nextbest.settings import Settings
from nextbest.wire import EventRow, Taken

VIEWS: Final = "live_page_view_count_1h"
CHANNELS: Final = {"home_banner": "web", "app_message": "app"}
_ZONES: Final = ("America/New_York", "America/Los_Angeles", "Asia/Tokyo", "Europe/Berlin")
_DAYTIME: Final = range(9, 20)
_PAGES: Final = 3
_WORTH: Final = 4.0
_TRIES: Final = 50
_KNOWN_WITHIN_S: Final = 5.0
_OPEN_WITHIN_S: Final = 60.0


Row = dict[str, Any]


class SecondError(NextbestError):
    """The API rejected what it should take, or no decision knew of it in time."""


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened, and a decision before and after it."""

    kind: str
    happened: str
    before: str
    after: str
    known_after_ms: float
    """From the acknowledgement to the answer of the first decision that knew it."""


@dataclass(slots=True)
class ThisSecond:
    """One customer, for whom offers are open, on two channels within a few seconds."""

    settings: Settings
    key: str
    """Of the API."""
    candidates: Sequence[str]
    """Customers, of whom the first is taken for whom it can be shown."""
    _client: Client = field(init=False)
    _zone: str = field(init=False)

    def __post_init__(self) -> None:
        address = f"http://{self.settings.host}:{self.settings.http_port}"
        self._client = Client(address, key=self.key)
        now = datetime.now(UTC)
        # Where telephones may ring now.
        self._zone = next((zone for zone in _ZONES if now.astimezone(ZoneInfo(zone)).hour in _DAYTIME), _ZONES[0])

    def happen(self) -> list[Moment]:
        """Everything, in order; less where the customers are too few for it.

        Raises:
            ApiError: the API refused something.
            SecondError: it rejected a row, or did not know of it in time.

        """
        with self._client:
            customer = next((each for each in self.candidates if _open_everywhere(self._look(each))), None)
            if customer is None:
                return []
            self._wait_for_features(customer)
            moments = [*self._login(customer, hashlib.sha256(_id().encode()).hexdigest())]
            contact, capped = self._cap(customer)
            return [*moments, capped, *self._answer(contact)]

    def _wait_for_features(self, customer: str) -> None:
        """Return once live features come: the pipeline has just changed the feature store, which is opened anew."""
        least = _number(self._look(customer), VIEWS) + 0.5
        since = self._say("events", {**_page(customer), "event_id": _id()})
        self._until(customer, since, lambda made: _number(made, VIEWS) > least, _OPEN_WITHIN_S)

    def _login(self, customer: str, visitor: str) -> Iterator[Moment]:
        """A visitor looks at pages, and turns out to be the customer: what the visitor did is the customer's."""
        name = f"anonymous_id:{visitor}"
        before = self._look(customer)
        since = self._say("events", *({**_page(name), "event_id": _id()} for _ in range(_PAGES)))
        whom = ("anonymous_id", visitor)
        alone, after_ms = self._until(whom, since, lambda made: _number(made, VIEWS) > _PAGES - 0.5)
        yield Moment(
            kind="feature",
            happened=f"somebody unknown looks at {_PAGES} pages",
            before=f"{VIEWS} 0",
            after=f"{VIEWS} {_number(alone, VIEWS):.2f}",
            known_after_ms=after_ms,
        )
        since = self._say("identities", {"kind": "anonymous_id", "identifier_hmac": visitor, "customer_id": customer})
        least = _number(before, VIEWS) + _PAGES - 0.5
        made, after_ms = self._until(
            whom, since, lambda made: made.customer_id == customer and _number(made, VIEWS) > least
        )
        yield Moment(
            kind="merge",
            happened=f"they log in as {customer}",
            before=f"{name[:18]}… {VIEWS} {_number(alone, VIEWS):.2f}",
            after=f"{made.customer_id} {VIEWS} {_number(made, VIEWS):.2f}",
            known_after_ms=after_ms,
        )

    def _cap(self, customer: str) -> tuple[Row, Moment]:
        """An offer of the page is clicked there and in the app, until it is open on neither; the contact, and that."""
        contact = self._see(customer, "home_banner")
        action = contact["action"]
        clicks = Counter[str]()
        for channel in cycle(CHANNELS.values()):
            clicks[channel] += 1
            since = self._say("events", {**contact, "channel": channel, "event_id": _id(), "type": "click"})
            made, after_ms = self._until(customer, since, lambda made: _clicks(made, action) == clicks.total())
            if not _is_open(made, action):
                break
        capped = Moment(
            kind="cap",
            happened=f"{customer} clicks {action} {' and '.join(f'{n}x on {each}' for each, n in clicks.items())}",
            before="open on both",
            after=_reasons(made, action)[0],
            known_after_ms=after_ms,
        )
        return contact, capped

    def _see(self, customer: str, placement: str) -> Row:
        """An offer is seen in a placement that is open in every one."""
        for _ in range(_TRIES):
            open_ = _open_everywhere(self._look(customer))
            made = self._decide(customer, (placement,))[0]
            if found := [slot for slot in _taken(made) if slot.action in open_]:
                contact = _contact(made, found[0], CHANNELS[placement])
                self._say("events", {**contact, "event_id": _id(), "type": "impression"})
                return contact
        raise SecondError(f"{customer} was offered nothing for {placement} in {_TRIES} decisions")

    def _answer(self, contact: Row) -> Iterator[Moment]:
        """The customer redeems the offer that was seen: it is believed to work better, for others too."""
        others = (each for each in self.candidates if each != contact["customer_id"])
        observer = next((each for each in others if _is_open(self._look(each), contact["action"])), None)
        if observer is not None:
            yield self._redeemed(contact, observer)

    def _redeemed(self, contact: Row, observer: str) -> Moment:
        action, customer = contact["action"], contact["customer_id"]
        before = _correction(self._look(observer), action)
        answer = {name: value for name, value in contact.items() if name != "channel"}
        answer |= {"outcome_id": _id(), "kind": "redemption", "value": _WORTH, "currency": "USD"}
        since = self._say("outcomes", answer)
        made, after_ms = self._until(observer, since, lambda made: _correction(made, action) > before)
        return Moment(
            kind="posterior",
            happened=f"{customer} redeems {action}",
            before=f"log odds corrected by {before:+.4f}",
            after=f"by {_correction(made, action):+.4f}, for {observer} as for all",
            known_after_ms=after_ms,
        )

    def _look(self, customer: str) -> DecisionRecord:
        """What a decision for the customer would rest on now."""
        return self._decide(customer, is_dry=True)[0]

    def _until(
        self,
        whom: Customer,
        since: float,
        is_known: Callable[[DecisionRecord], bool],
        within_s: float = _KNOWN_WITHIN_S,
    ) -> tuple[DecisionRecord, float]:
        """The first decision of which that is so, and how many milliseconds after `since` it was answered."""
        while True:
            made, answered = self._decide(whom, is_dry=True)
            if is_known(made):
                return made, round(1_000 * (answered - since), 1)
            if answered - since > within_s:
                raise SecondError(
                    f"no decision knew in {within_s:.0f} s what {made.customer_id} did: "
                    "`nextbest log status` says whether events are applied"
                )

    def _decide(
        self, whom: Customer, placements: Sequence[str] = (*CHANNELS,), *, is_dry: bool = False
    ) -> tuple[DecisionRecord, float]:
        """A decision with all that it knew, and when it was answered."""
        made = self._client.decide(whom, placements, context={"time_zone": self._zone}, dry_run=is_dry)
        answered = time.monotonic()
        return self._client.decision(made.decision_id).record, answered

    def _say(self, contract: Taken, *rows: Row) -> float:
        """Send rows about this moment; when they were acknowledged."""
        time_ = "linked_at" if contract == "identities" else "occurred_at"
        now = datetime.now(UTC).isoformat()
        taken = self._client.send(EventRow(contract, {**row, time_: now, "source": "simulated"}) for row in rows)
        if taken.rejected:
            raise SecondError(f"the API rejected {taken.rejected} rows of {contract}: {taken.results}")
        return time.monotonic()


def table(moments: Sequence[Moment]) -> Table:
    """What happened, and what decisions made of it."""
    shown = Table("", "what happens", "before", "after", "known after", box=None)
    for each in moments:
        shown.add_row(each.kind, each.happened, each.before, each.after, f"{each.known_after_ms:.0f} ms")
    return shown


def _id() -> str:
    return uuid.uuid4().hex


def _page(name: str) -> Row:
    return {"customer_id": name, "type": "page_view", "channel": "web"}


def _taken(made: DecisionRecord) -> list[SlotRecord]:
    return [slot for placement in made.placements for slot in placement.slots if slot.action != DO_NOTHING]


def _contact(made: DecisionRecord, slot: SlotRecord, channel: str) -> Row:
    """As rows name a contact."""
    return {
        "customer_id": made.customer_id,
        "decision_id": made.decision_id,
        "slot": slot.slot,
        "action": slot.action,
        "treatment": slot.treatment,
        "channel": channel,
    }


def _number(made: DecisionRecord, feature: str) -> float:
    value = made.features.get(feature, 0.0)
    return 0.0 if isinstance(value, str) else float(value)


def _reasons(made: DecisionRecord, action: str) -> list[str]:
    """Why the action is not open, by placement; empty texts where it is."""
    return [each.reason for each in made.candidates if each.action == action]


def _open_everywhere(made: DecisionRecord) -> set[str]:
    """Actions that are open in every placement, and that the customer has had nothing to do with lately."""
    open_ = {(each.placement, each.action) for each in made.candidates if not each.reason}
    known = {each.action for each in made.snapshot.contacts} | {each.action for each in made.snapshot.interactions}
    actions = {action for _, action in open_ if action not in known}
    return {each for each in actions if all((placement, each) in open_ for placement in CHANNELS)}


def _clicks(made: DecisionRecord, action: str) -> int:
    return sum(each.kind == "click" and each.action == action for each in made.snapshot.interactions)


def _is_open(made: DecisionRecord, action: str) -> bool:
    return "" in _reasons(made, action)


def _correction(made: DecisionRecord, action: str) -> float:
    return next((each.residual_mean or 0.0 for each in made.candidates if each.action == action), 0.0)
