"""Steady traffic: decisions and events at a pace that does not wait for answers, and what became of each.

Belongs here: who sends what, again where it was not taken, and what was acknowledged. Does not belong here: what
happens to the servers meanwhile (`faults`), or what they hold afterwards (`audit`).
"""

import asyncio
import itertools
import random
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any

import httpx

from nextbest.records import DO_NOTHING

BATCH = 20
"""Events that are sent together."""
_TIMEOUT_S = 5.0
_AGAIN_S, _AGAIN_MOST_S = 0.25, 2.0
"""How long a client waits before it tries again: at first, and doubling, at most."""
_MOST_WAITING = 128
"""Decisions, and batches, that a client keeps for their answers: who keeps more has the servers start under a storm."""
_LATE = timedelta(minutes=5)
"""How long after they happened events are sent: longer than the servers' clock is ever slow."""
_KINDS = ("page_view", "product_view", "add_to_cart", "login")


@dataclass(frozen=True, slots=True)
class Event:
    """One that was sent: a customer's, of a kind, at a moment that no other of theirs has."""

    event_id: str
    customer_id: str
    kind: str
    at: datetime
    decision_id: str = ""
    """Of an impression."""
    action: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """A request for a decision, and what was answered; a status of 0 is no answer at all."""

    sent_s: float
    answered_s: float
    status: int
    decision_id: str = ""
    customer_id: str = ""
    actions: tuple[str, ...] = ()
    logged: bool = False
    degraded: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Traffic:
    """What was sent so far, by one who never stops; times are seconds of the monotonic clock."""

    url: str
    key: str
    customers: Sequence[str]
    placements: Sequence[str]
    decisions_per_s: float
    batches_per_s: float
    name: str = "t"
    acknowledged: dict[str, Event] = field(default_factory=dict)
    given_up: dict[str, Event] = field(default_factory=dict)
    """Never acknowledged: they may be in the log, or not."""
    decisions: list[Answered] = field(default_factory=list)
    refusals: Counter[int] = field(default_factory=Counter)
    """Statuses other than 202 that batches of events were answered; 0 for none."""
    _ends: bool = False
    _shown: deque[Answered] = field(default_factory=lambda: deque(maxlen=1_000))
    """What customers are about to see."""
    _random: random.Random = field(default_factory=lambda: random.Random(5))  # noqa: S311  who comes next is no secret

    @contextmanager
    def flowing(self) -> Iterator["Traffic"]:
        """Send while the context lasts, and until everything has an answer or was tried for long enough.

        Raises:
            RuntimeError: the sender itself failed.

        """
        failed: list[BaseException] = []

        def run() -> None:
            try:
                asyncio.run(self._send())
            except BaseException as error:  # noqa: BLE001  raised where the context ends
                failed.append(error)

        thread = Thread(target=run)
        thread.start()
        try:
            yield self
        finally:
            self._ends = True
            thread.join()
        if failed:
            raise RuntimeError("the traffic failed") from failed[0]

    async def _send(self) -> None:
        async with self.client() as client, asyncio.TaskGroup() as group:
            for send, pace in ((self.decide, self.decisions_per_s), (self.tell, self.batches_per_s)):
                group.create_task(self._paced(group, client, send, pace))

    def client(self) -> httpx.AsyncClient:
        """What speaks to the servers."""
        limits = httpx.Limits(max_connections=256, max_keepalive_connections=64)
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=_TIMEOUT_S, limits=limits)

    async def _paced(self, group: asyncio.TaskGroup, client: httpx.AsyncClient, send: Any, per_s: float) -> None:
        """Begin one request after the other, whether or not those before are answered, while few enough are not."""
        began = time.monotonic()
        waiting: set[asyncio.Task[None]] = set()
        for number in itertools.count():
            await asyncio.sleep(max(began + number / per_s - time.monotonic(), 0.0))
            if self._ends:
                return
            if len(waiting) < _MOST_WAITING:
                sent = group.create_task(send(client, number))
                waiting.add(sent)
                sent.add_done_callback(waiting.discard)

    async def decide(self, client: httpx.AsyncClient, number: int) -> None:
        """Every other request has an id of its own, and comes again until it is answered."""
        customer = self._random.choice(self.customers)
        body: dict[str, Any] = {
            "customer": {"customer_id": customer},
            "placements": [self._random.choice(self.placements)],
            "limit": 1,
        }
        is_repeated = number % 2 == 0
        if is_repeated:
            body["request_id"] = f"{self.name}-{number}"
        for pause_s in _pauses():
            sent_s = time.monotonic()
            answered = await self._asked(client, body, sent_s, customer)
            self.decisions.append(answered)
            if answered.logged and answered.actions[:1] not in {(), (DO_NOTHING,)}:
                self._shown.append(answered)
            if answered.status == httpx.codes.OK or not is_repeated or self._ends:
                return
            await asyncio.sleep(pause_s)

    async def _asked(self, client: httpx.AsyncClient, body: dict[str, Any], sent_s: float, customer: str) -> Answered:
        try:
            response = await client.post("/v1/decisions", json=body)
            if response.status_code != httpx.codes.OK:
                return Answered(sent_s, time.monotonic(), response.status_code)
            said = response.json()
        except (httpx.TransportError, ValueError):
            return Answered(sent_s, time.monotonic(), 0)
        slots = [slot["action"] for placement in said["placements"] for slot in placement["slots"]]
        return Answered(
            sent_s=sent_s,
            answered_s=time.monotonic(),
            status=response.status_code,
            decision_id=said["decision_id"],
            customer_id=customer,
            actions=tuple(slots),
            logged=said["logged"],
            degraded=tuple(said["degraded"]),
        )

    async def tell(self, client: httpx.AsyncClient, number: int) -> None:
        """A batch, again and again until it is taken: a client that keeps what it was not promised."""
        events = [self._event(number, index) for index in range(BATCH)]
        rows = [{"contract": "events", "properties": _row(event)} for event in events]
        given_up_s = time.monotonic() + 60.0
        for pause_s in _pauses():
            if time.monotonic() > given_up_s:
                break
            try:
                response = await client.post("/v1/events", json={"events": rows})
                status = response.status_code
                if status == httpx.codes.ACCEPTED:
                    self._note(events, response.json()["results"])
                    return
            except (httpx.TransportError, ValueError):
                status = 0
            self.refusals[status] += 1
            await asyncio.sleep(pause_s)
        self.given_up |= {event.event_id: event for event in events}

    def _note(self, events: Sequence[Event], results: Sequence[Mapping[str, str]]) -> None:
        for event, result in zip(events, results, strict=True):
            taken = result["status"] in {"accepted", "duplicate"}
            (self.acknowledged if taken else self.given_up)[event.event_id] = event

    def _event(self, number: int, index: int) -> Event:
        # What tells one event of a customer from the next in State is its moment; it holds from then, or from when it
        # was received, should the servers' clock not be there yet.
        at = (datetime.now(UTC) - _LATE).replace(microsecond=(number * BATCH + index) % 1_000_000)
        event_id = f"{self.name}-{number}-{index}"
        if index == 0 and self._shown:
            seen = self._shown.popleft()
            return Event(event_id, seen.customer_id, "impression", at, seen.decision_id, seen.actions[0])
        return Event(event_id, self._random.choice(self.customers), self._random.choice(_KINDS), at)


def _pauses() -> Iterator[float]:
    """Seconds to wait after each try."""
    pause_s = _AGAIN_S
    while True:
        yield pause_s
        pause_s = min(2.0 * pause_s, _AGAIN_MOST_S)


def _row(event: Event) -> dict[str, Any]:
    row: dict[str, Any] = {
        "event_id": event.event_id,
        "customer_id": event.customer_id,
        "type": event.kind,
        "channel": "web",
        "occurred_at": event.at.isoformat(),
    }
    if event.decision_id:
        row |= {"decision_id": event.decision_id, "slot": 0, "action": event.action}
    return row
