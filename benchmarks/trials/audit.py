"""What the log and State hold after a trial, against what was acknowledged while it ran.

Belongs here: counting what was lost, doubled or granted too often; nothing of how a log or State works is used for
that but reading them. Does not belong here: what was sent (`traffic`), or what was done to the servers (`faults`).
"""

import asyncio
import tempfile
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from itertools import pairwise
from pathlib import Path

import msgspec

from benchmarks.trials.traffic import Answered, Event, Traffic
from nextbest import records
from nextbest.adapters.logs import open_log
from nextbest.adapters.policy_files import read_document
from nextbest.adapters.sqlite_state import SqliteState
from nextbest.adapters.states import open_state
from nextbest.envelope import Envelope
from nextbest.log import LogUnavailableError
from nextbest.records import Contact, DecisionRecord, Snapshot
from nextbest.settings import Settings
from nextbest.state import SnapshotScope, State, StateUnavailableError

_Read = Callable[[int, int], list[tuple[int, Envelope]]]

_Mark = tuple[str, str, str | datetime]

_PAGE = 5_000
_AGAIN_S = 0.5
_EVER = SnapshotScope(datetime(2000, 1, 1, tzinfo=UTC), datetime(2000, 1, 1, tzinfo=UTC))


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the requests for decisions; none is to be `unlogged`, `altered` or `doubled`."""

    asked: int
    answered: int
    degraded: int
    reasons: dict[str, int]
    refused: dict[str, int]
    """By status; 0 where nothing answered."""
    longest_gap_s: float
    """The longest time in which no decision was answered."""
    unlogged: int
    """Said to be logged, and not in the log."""
    altered: int
    """In the log with other actions than the answer had."""
    doubled: int
    caps_broken: int
    """Customers and members of rules with more contacts than the rule allows."""


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """Of one trial. `lost`, `duplicated` and `misapplied` are to be 0, and `applied` is to be `acknowledged`."""

    acknowledged: int
    logged: int
    """Of those acknowledged, in the log."""
    applied: int
    """Of those acknowledged, in State once."""
    duplicated: int
    """Ids that the log has more than once, and events that State has more than once."""
    lost: int
    misapplied: int
    """Customers whom a State made anew from the log knows otherwise."""
    refusals: dict[str, int]
    """Answers to batches of events other than 202, by status; 0 for none. All were sent again."""
    settled_s: float
    """How long after the last answer it took until all of it was in State."""
    decisions: Decided

    @property
    def is_clean(self) -> bool:
        made = self.decisions
        wrong = (self.lost, self.duplicated, self.misapplied, self.acknowledged - self.applied)
        return not any((*wrong, made.unlogged, made.altered, made.doubled, made.caps_broken))


class Auditor:
    """Follows one home over its trials: what it has read of the log it does not read again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._caps = _caps(settings)
        self._entries: list[Envelope] = []
        self._made: dict[str | None, DecisionRecord] = {}
        self._offset = self._begin = 0
        self._folder = tempfile.TemporaryDirectory()
        self._rebuilt = SqliteState(Path(self._folder.name) / "state.db")

    def close(self) -> None:
        self._rebuilt.close()
        self._folder.cleanup()

    def begin(self) -> None:
        """What comes from now on belongs to the next trial."""
        with closing(open_log(self._settings)) as log:
            asyncio.run(self._read(log.read_sync))
        self._begin = len(self._entries)

    def find(self, traffic: Traffic, within_s: float) -> Findings:
        """Look until everything that was acknowledged is where it should be, or for `within_s` seconds.

        Args:
            traffic: What was sent, all of it by now.
            within_s: How long those who come late may take.

        """
        return asyncio.run(self._find(traffic, within_s))

    async def _find(self, traffic: Traffic, within_s: float) -> Findings:
        loop = asyncio.get_running_loop()
        began = loop.time()
        with closing(open_log(self._settings)) as log, closing(open_state(self._settings)) as state:
            while True:
                try:
                    await self._read(log.read_sync)
                    found = await self._look(traffic, state)
                    found = msgspec.structs.replace(found, settled_s=round(loop.time() - began, 2))
                    if found.is_clean or loop.time() - began > within_s:
                        return found
                except (LogUnavailableError, StateUnavailableError):
                    if loop.time() - began > within_s:
                        raise
                await asyncio.sleep(_AGAIN_S)

    async def _read(self, read: _Read) -> None:
        while page := read(self._offset, _PAGE):
            entries = [entry for _, entry in page]
            await self._rebuilt.apply(entries, None)
            self._entries += entries
            for entry in filter(_is_decision, entries):
                with suppress(msgspec.DecodeError):  # one that was put there to be none
                    self._made.setdefault(entry.decision_id, records.decode(entry.properties["record"]))
            self._offset = page[-1][0]

    async def _look(self, traffic: Traffic, state: State) -> Findings:
        new = self._entries[self._begin :]
        times = Counter(entry.event_id for entry in new)
        known = {customer: await state.snapshot(customer, _EVER) for customer in traffic.customers}
        again = {customer: await self._rebuilt.snapshot(customer, _EVER) for customer in traffic.customers}
        seen = _seen(known)
        applied = [seen[_mark(event)] for event in traffic.acknowledged.values()]
        logged = sum(times[f"events/{event_id}"] > 0 for event_id in traffic.acknowledged)
        return Findings(
            acknowledged=len(traffic.acknowledged),
            logged=logged,
            applied=sum(count == 1 for count in applied),
            duplicated=sum(count > 1 for count in times.values()) + sum(count > 1 for count in applied),
            lost=len(traffic.acknowledged) - logged,
            misapplied=sum(
                self._said(known[each], again[each]) != self._said(again[each], again[each]) for each in known
            ),
            refusals={str(status): count for status, count in traffic.refusals.items()},
            settled_s=0.0,
            decisions=self._decided(traffic.decisions, Counter(each.decision_id for each in new if _is_decision(each))),
        )

    def _said(self, snapshot: Snapshot, rebuilt: Snapshot) -> tuple[object, ...]:
        """What of a snapshot comes from the log: not what is only reserved, nor when what expired was given back.

        A side of an experiment is kept with the reservation; of decisions that are in no log nothing else is.
        """
        logged = {arm.experiment for arm in rebuilt.arms}
        contacts = sorted(
            (
                each if each.impressed_at else msgspec.structs.replace(each, expires_at=each.decided_at)
                for each in snapshot.contacts
                if each.decision_id in self._made
            ),
            key=_place,
        )
        interactions = sorted(snapshot.interactions, key=lambda each: (each.at, each.kind))
        arms = [arm for arm in snapshot.arms if arm.experiment in logged]
        return snapshot.consents, contacts, interactions, arms, snapshot.pauses

    def _decided(self, answers: Sequence[Answered], times: Mapping[str | None, int]) -> Decided:
        good = [each for each in answers if each.status == HTTPStatus.OK]
        promised = [each for each in good if each.logged]
        held = [each for each in promised if each.decision_id in self._made]
        return Decided(
            asked=len(answers),
            answered=len(good),
            degraded=sum(bool(set(each.degraded) - {"unknown_customer"}) for each in good),
            reasons=dict(Counter(reason for each in good for reason in each.degraded)),
            refused=dict(Counter(str(each.status) for each in answers if each.status != HTTPStatus.OK)),
            longest_gap_s=round(_longest_gap(good), 2),
            unlogged=len(promised) - len(held),
            altered=sum(_actions(self._made[each.decision_id]) != each.actions for each in held),
            doubled=sum(count > 1 for count in times.values()),
            caps_broken=_caps_broken(self._caps, self._made.values()),
        )


def _mark(event: Event) -> _Mark:
    """What State knows an event by: an impression is kept in the contact that it was of."""
    return event.customer_id, event.kind, event.decision_id or event.at


def _seen(known: Mapping[str, Snapshot]) -> Counter[_Mark]:
    """How often State has each event."""
    found: Counter[_Mark] = Counter()
    for customer, snapshot in known.items():
        found.update((customer, each.kind, each.at) for each in snapshot.interactions)
        found.update(
            (customer, "impression", each.decision_id) for each in snapshot.contacts if each.impressed_at is not None
        )
    return found


def _place(contact: Contact) -> tuple[str, int, str]:
    return contact.decision_id, contact.slot, contact.action


def _is_decision(entry: Envelope) -> bool:
    return entry.type == "decision" and entry.slot == 0 and bool(entry.properties)


def _actions(record: DecisionRecord) -> tuple[str, ...]:
    return tuple(slot.action for placement in record.placements for slot in placement.slots)


def _longest_gap(answers: Sequence[Answered]) -> float:
    moments = sorted(each.answered_s for each in answers)
    return max((later - earlier for earlier, later in pairwise(moments)), default=0.0)


class _Cap(msgspec.Struct, frozen=True):
    """Of a rule that counts decisions: what it counts together, which of those, and how many in what time."""

    rule: str
    scope: str
    only: tuple[str, ...]
    limit: int
    window: timedelta
    actions: frozenset[str]
    """Those that it binds."""


def _caps(settings: Settings) -> list[_Cap]:
    document = read_document(settings.folder("policies"))
    binds = document.contact_policy.binds
    bound = frozenset(each.id for each in document.actions.actions if each.action_class in binds)
    return [
        _Cap(rule.id, rule.scope, rule.only, rule.limit, timedelta(hours=rule.window_hours), bound)
        for rule in document.contact_policy.rules
        if rule.count == "decision"
    ]


def _caps_broken(caps: Iterable[_Cap], made: Collection[DecisionRecord]) -> int:
    """How many customers had more contacts than a rule allows, looked at from every contact."""
    contacts = [
        (record.customer_id, each) for record in made if record.mode == "live" for each in records.contacts_of(record)
    ]
    broken = 0
    for cap in caps:
        moments = defaultdict(list)
        for customer, contact in contacts:
            member = {"action": contact.action, "group": contact.group, "channel": contact.channel}.get(cap.scope, "")
            if contact.action in cap.actions and (not cap.only or member in cap.only):
                moments[customer, member].append(contact.decided_at)
        for each in moments.values():
            each.sort()
            counts = (number + 1 - bisect_right(each, at - cap.window) for number, at in enumerate(each))
            broken += any(count > cap.limit for count in counts)
    return broken
