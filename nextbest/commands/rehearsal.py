"""The demo's customers: they come to the channels, are decided for over HTTP, and the market answers for them.

Belongs here: who comes, what is shown of their decisions, and sending what the market answers. Does not belong here:
how a decision is made (the API), or what customers answer (`nextbest.market`).
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import msgspec
from rich.table import Table

from nextbest import records
from nextbest.adapters.bundles import read_bundle
from nextbest.adapters.landing import Door
from nextbest.errors import NextbestError
from nextbest.hashing import uniform, uniforms
from nextbest.market import Answer, Market
from nextbest.reasons import reason
from nextbest.records import DO_NOTHING, DecisionRecord, PlacementRecord
from nextbest.settings import Settings
from nextbest.wire import DecisionDetails

VISITORS: Final = 200
STRANGER: Final = "a-stranger"
PLACEMENTS: Final = ("home_banner", "email_hero", "app_message")
RETURNING: Final = 20
"""So many of the visitors are written to as often as `RETURNS` says, which is more than they may be."""
RETURNS: Final = 2
ZONES: Final = ("America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles", "Asia/Tokyo")
ROWS_PER_REASON: Final = 3
_EXPLAINED: Final = ("eligibility", "applicability", "suitability", "contact_policy")
_JUST_PAID: Final = 0.1
_RECALLED: Final = 0.1
_EVENTS_PER_CALL: Final = 500
_TIMEOUT_S: Final = 30
_POLL_S: Final = 0.1


class RehearsalError(NextbestError):
    """The API answered otherwise than its contract says."""


@dataclass(slots=True)
class Rehearsal:
    """Visits of some of the demo's customers, and of one stranger, to every placement; some come again."""

    settings: Settings
    key: str
    """Of the API."""
    decisions: list[DecisionRecord] = field(default_factory=list)

    def wait_for_models(self, versions: Mapping[str, str]) -> str:
        """The id of the model set that decides, once it is of these versions by model name.

        Raises:
            RehearsalError: the follower brought none.

        """
        deadline = time.monotonic() + _TIMEOUT_S
        with self._client() as client:
            while time.monotonic() < deadline:
                model_set_id = client.get("/readyz").json().get("model_set_id")
                if model_set_id and self._versions(model_set_id) == versions:
                    return str(model_set_id)
                time.sleep(_POLL_S)
        log = self.settings.run / "follower.log"
        raise RehearsalError(f"{dict(versions)} did not come to serving in {_TIMEOUT_S} s: {log} may say why")

    def decide(self) -> Counter[str]:
        """Ask for a decision for every visitor; returns how often each action was decided."""
        visitors = self._visitors()
        visits: list[tuple[str, tuple[str, ...]]] = [(customer_id, PLACEMENTS) for customer_id in [STRANGER, *visitors]]
        visits += [(customer_id, ("email_hero",)) for customer_id in visitors[:RETURNING]] * RETURNS
        with self._client() as client:
            for customer_id, placements in visits:
                body = {
                    "customer": {"customer_id": customer_id},
                    "placements": placements,
                    "context": _context(customer_id),
                }
                answer = _json(client.post("/v1/decisions", json=body))
                record = _accepted(client.get(f"/v1/decisions/{answer['decision_id']}"))
                self.decisions.append(msgspec.json.decode(record.content, type=DecisionDetails).record)
        return Counter(slot.action for record in self.decisions for each in record.placements for slot in each.slots)

    def answer(self, market: Market) -> Counter[str]:
        """Send what `market` answers as events; returns how many of each kind were taken in."""
        answers = [answer for record in self.decisions for answer in _answers(market, record)]
        with self._client() as client:
            for batch in _batches(answers, _EVENTS_PER_CALL):
                events = [{"contract": answer.contract, "properties": answer.row} for answer in batch]
                taken = _json(client.post("/v1/events", content=msgspec.json.encode({"events": events})))
                if taken["rejected"]:
                    raise RehearsalError(f"the API rejected {taken['rejected']} answers of the market: {taken}")
        return Counter(answer.row.get("type") or answer.row["kind"] for answer in answers)

    def table(self) -> Table:
        """Some of the decisions, as different from one another as they come, each with its reason."""
        table = Table("customer", "placement", "action", "P", "value", "cost", "priority", "why", box=None)
        for record, placement in _varied(self.decisions):
            slot = placement.slots[0]
            score = next((c for c in record.candidates if (c.placement, c.action) == (placement.id, slot.action)), None)
            cells = [score and score.p, score and score.value, score and score.cost, score and score.priority]
            numbers = ["" if cell is None else f"{cell:.4f}" for cell in cells]
            table.add_row(record.customer_id, placement.id, slot.action, *numbers, reason(record, placement, slot).text)
        return table

    def in_question(self) -> tuple[str, list[str]]:
        """A decision that chose something, with an action that was stopped and one that came second."""
        for record in self.decisions:
            chosen = {slot.action for placement in record.placements for slot in placement.slots}
            others = [each for each in record.candidates if each.action not in chosen | {DO_NOTHING}]
            stopped = [each.action for each in others if each.stage in _EXPLAINED]
            lost = sorted((each for each in others if not each.reason), key=lambda each: -(each.priority or 0.0))
            if record.tier == "full" and chosen != {DO_NOTHING} and stopped and lost:
                return record.decision_id, [stopped[0], lost[0].action]
        return "", []

    def _visitors(self) -> Sequence[str]:
        door = Door.of(self.settings)
        customers: list[str] = door.keys("customers", "customer_id").to_pylist()
        return sorted(customers, key=lambda customer: uniform("demo visitor", customer))[:VISITORS]

    def _versions(self, model_set_id: str) -> Mapping[str, str]:
        model_set, _ = read_bundle(self.settings.bundles, model_set_id)
        return {name: model.version for name, model in model_set.models.items()}

    def _client(self) -> httpx.Client:
        address = f"http://{self.settings.host}:{self.settings.http_port}"
        return httpx.Client(base_url=address, headers={"Authorization": f"Bearer {self.key}"}, timeout=_TIMEOUT_S)


def _context(customer_id: str) -> dict[str, Any]:
    """What the channel knows: where the customer is, who has just paid, and what is being recalled."""
    where, pays, hears = uniforms(3, "demo context", customer_id).tolist()
    context: dict[str, Any] = {"time_zone": ZONES[int(where * len(ZONES))]}
    if pays < _JUST_PAID:
        context["has_just_paid"] = True
    if hears < _RECALLED:
        context["recalled_category"] = "frozen_pizza"
    return context


def _varied(decisions: Iterable[DecisionRecord]) -> Iterator[tuple[DecisionRecord, PlacementRecord]]:
    """The first decisions of each kind of reason, every action once."""
    shown: Counter[str] = Counter()
    actions: set[str] = set()
    for record in decisions:
        for placement in record.placements:
            slot = placement.slots[0]
            why, action = reason(record, placement, slot), slot.action
            kind = why.text.partition(":")[0] if why.kind == "stopped" else why.kind
            if shown[kind] < (1 if why.kind == "stopped" else ROWS_PER_REASON) and (
                action == DO_NOTHING or action not in actions
            ):
                shown[kind] += 1
                actions.add(action)
                yield record, placement


def _answers(market: Market, record: DecisionRecord) -> Iterator[Answer]:
    if record.customer_id in {None, STRANGER}:
        return
    features = {name: value for name, value in record.features.items() if isinstance(value, int | float)}
    for row in records.rows(record):
        yield from market.answer(row, features, record.occurred_at)


def _batches(answers: Sequence[Answer], size: int) -> Iterator[Sequence[Answer]]:
    return (answers[start : start + size] for start in range(0, len(answers), size))


def _accepted(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    raise RehearsalError(
        f"{response.request.method} {response.request.url.path}: {response.status_code}: {response.text}"
    )


def _json(response: httpx.Response) -> Any:
    return _accepted(response).json()
