"""A steady load of decisions, and what became of every request.

Belongs here: clients that keep connections of their own, and the count of outcomes. Does not belong here: what
happens to the server meanwhile (the tests).
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.serving.server import bearer

PACE_S = 0.005
_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request: when it was sent and answered (seconds of the monotonic clock), how, and after how many tries."""

    request_id: str
    sent_s: float
    answered_s: float
    said: str
    tries: int
    decision_id: str = ""


@dataclass(slots=True)
class Load:
    """Clients that each ask, wait for the answer, and ask again; with `retries`, the same again when it failed."""

    address: str
    key: str
    name: str
    retries: bool = False
    clients: int = 4
    pace_s: float = PACE_S
    outcomes: list[Outcome] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator["Load"]:
        """Ask while the context lasts, and until each client has its last answer."""
        threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(self.clients)]
        for thread in threads:
            thread.start()
        try:
            time.sleep(0.5)  # what is to come finds every client busy
            yield self
            time.sleep(0.5)
        finally:
            self._ended.set()
            for thread in threads:
                thread.join()

    @property
    def lost(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.said != "200"]

    def summary(self) -> str:
        """How many requests had which outcome, for the message of a failed assertion."""
        slowest = max(each.answered_s - each.sent_s for each in self.outcomes)
        return f"{dict(Counter(outcome.said for outcome in self.outcomes))}, slowest {slowest:.2f} s"

    def _ask(self, client_number: int) -> None:
        with httpx.Client(base_url=self.address, headers=bearer(self.key), timeout=_PATIENCE_S) as client:
            number = 0
            while not self._ended.is_set():
                request_id = f"{self.name}-{client_number}-{number}"
                self.outcomes.append(self._outcome(client, request_id, f"c{10 + number % 90}"))
                number += 1
                time.sleep(self.pace_s)

    def _outcome(self, client: httpx.Client, request_id: str, customer_id: str) -> Outcome:
        body = {
            "customer": {"customer_id": customer_id},
            "placements": ["home_banner"],
            "limit": 1,
            "budget_ms": 10_000,  # on a machine that is busy an answer comes late, and is no fallback that nobody logs
            "request_id": request_id,
        }
        sent_s, tries = time.monotonic(), 0
        while True:
            tries += 1
            said, decision_id = _said(client, body)
            answered_s = time.monotonic()
            if said.startswith("200") or not self.retries or answered_s > sent_s + _PATIENCE_S:
                return Outcome(request_id, sent_s, answered_s, said, tries, decision_id)
            time.sleep(0.1)


def _said(client: httpx.Client, body: dict[str, Any]) -> tuple[str, str]:
    """The status, why there is no better decision, and which it is; or the error that came instead."""
    try:
        response = client.post("/v1/decisions", json=body)
    except httpx.TransportError as error:
        return repr(error), ""
    answer = response.json() if response.status_code == httpx.codes.OK else {"decision_id": "", "degraded": []}
    return " ".join([str(response.status_code), *answer["degraded"]]), answer["decision_id"]
