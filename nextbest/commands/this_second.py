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
CAP: Final = "same_offer_three_times_a_week"
CHANNELS: Final = {"home_banner": "web", "app_message": "app"}
_ZONES: Final = ("America/New_York", "America/Los_Angeles", "Asia/Tokyo", "Europe/Berlin")
_DAYTIME: Final = range(9, 20)
_PAGES: Final = 3
_WORTH: Final = 4.0
_TRIES: Final = 100
"""Decisions until one is the offer that is looked for: of others so many as the API takes are left out."""
_LEFT_OUT: Final = 20
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
            offers = ((each, _new_offer(self._look(each))) for each in self.candidates)
            customer, offer = next(((each, offer) for each, offer in offers if offer), ("", ""))
            if not customer:
                return []
            self._wait_for_features(customer)
            moments = [*self._login(customer, hashlib.sha256(_id().encode()).hexdigest())]
            contacts, capped = self._cap(customer, offer)
            return [*moments, capped, *self._answer(contacts[0])]

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

    def _cap(self, customer: str, action: str) -> tuple[list[Row], Moment]:
        """An offer is seen on the page and in the app until it may be shown on neither; how it was seen, and that."""
        contacts = list[Row]()
        for placement in cycle(CHANNELS):
            contacts.append(self._see(customer, action, placement))
            since = self._say("events", {**contacts[-1], "event_id": _id(), "type": "impression"})
            if not _is_open(self._look(customer), action):
                break
        made, after_ms = self._until(customer, since, lambda made: _is_capped(made, action))
        seen = Counter(each["channel"] for each in contacts)
        capped = Moment(
            kind="cap",
            happened=f"{customer} has seen {action} {' and '.join(f'{n}x on {each}' for each, n in seen.items())}",
            before="open on both",
            after=_reasons(made, action)[0],
            known_after_ms=after_ms,
        )
        return contacts, capped

    def _see(self, customer: str, action: str, placement: str) -> Row:
        """Decide for a placement until it is this action; others are left out, and looked for before they count."""
        others = list[str]()
        for _ in range(_TRIES):
            left_out = others[-_LEFT_OUT:]
            made = self._decide(customer, (placement,), is_dry=True, dedup_with=left_out)[0]
            if any(slot.action == action for slot in _taken(made)):
                made = self._decide(customer, (placement,), dedup_with=left_out)[0]
            found = [slot for slot in _taken(made) if slot.action == action]
            if found and made.mode == "live":
                return _contact(made, found[0], CHANNELS[placement])
            others.append(made.decision_id)
        raise SecondError(f"{customer} was not offered {action} in {_TRIES} decisions for {placement}")

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
        self,
        whom: Customer,
        placements: Sequence[str] = (*CHANNELS,),
        *,
        is_dry: bool = False,
        dedup_with: Sequence[str] = (),
    ) -> tuple[DecisionRecord, float]:
        """A decision with all that it knew, and when it was answered."""
        context = {"time_zone": self._zone}
        made = self._client.decide(whom, placements, context=context, dry_run=is_dry, dedup_with=dedup_with)
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


def _new_offer(made: DecisionRecord) -> str:
    """An action that is open in every placement, and of which the customer has seen nothing lately; empty for none."""
    seen = {contact.action for contact in made.snapshot.contacts}
    open_ = {(each.placement, each.action) for each in made.candidates if not each.reason}
    offers = (slot.action for slot in _taken(made) if slot.action not in seen)
    return next((each for each in offers if all((placement, each) in open_ for placement in CHANNELS)), "")


def _is_open(made: DecisionRecord, action: str) -> bool:
    return "" in _reasons(made, action)


def _is_capped(made: DecisionRecord, action: str) -> bool:
    reasons = _reasons(made, action)
    return bool(reasons) and all(CAP in reason for reason in reasons)


def _correction(made: DecisionRecord, action: str) -> float:
    return next((each.residual_mean or 0.0 for each in made.candidates if each.action == action), 0.0)
