"""Retention and compaction: what leaves the event log, and the landing after it, in time.

Belongs here: which records and batches are older than their contract's retention, and which word of a customer, an
identifier, a signal or a kill switch a later one has replaced. Does not belong here: when that is looked for
(`orchestration.defs.upkeep`), or what State forgets (`nextbest.state`).

A State rebuilt from what is left decides as one rebuilt from all of it. The last word on a consent, an identifier, a
signal and an action stays however old it is, and so does every erasure. Of an impression older than its contract allows
stays that it was seen, without by whom, as long as its decision is in the log: budgets count it. With a decision goes
what it took of budgets that never end, in a State rebuilt afterwards. Nothing of the last 35 days goes: by its id a
record that is sent again is known. Of what came out of the landing only the id stays, since the same file may deliver
it for years.

A day's records under a contract that lands go together, once all of them have landed, and before the day's batch: so a
day is in the log as a whole or not at all, and may land again until then.
"""

from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import msgspec

from nextbest.adapters.landing import Door, Receipt
from nextbest.adapters.log_landing import LOG_CONTRACTS, day_of, has_arrived, is_from_log, landed_days, source_name
from nextbest.adapters.logs import OpenLog
from nextbest.contracts import Contract
from nextbest.envelope import LANDED, Envelope, is_landed
from nextbest.erasure import ERASED, without_customer
from nextbest.identity import NamesTied
from nextbest.intake import IMPRESSION
from nextbest.log import Arrived
from nextbest.moments import from_microseconds
from nextbest.signals import rank
from nextbest.state import ActionSwitched, ConsentChanged, CustomerErased, SignalSaid, effects

DEDUPLICATED: Final = timedelta(days=35)
"""How long a record's id is known at least."""
_LAST_WORDS: Final = ("consents", "identities", "signals")
"""Contracts of which the last word stays, however old it is."""
_NO_CONTRACT: Final = ""
_PAGE: Final = 1_000  # more in one transaction would keep others from appending for too long

Entry = tuple[int, Envelope]


class Compaction(msgspec.Struct, frozen=True):
    """What left, or would leave; by contract, and by "" what belongs to none."""

    removed: dict[str, int]
    """Records."""
    emptied: dict[str, int]
    """Records of which only the id stays, or of an impression what it counts."""
    batches: dict[str, int]
    """Deliveries in the landing, with what was rejected of them."""


def compact(
    log: OpenLog, door: Door, contracts: Mapping[str, Contract], now: datetime, *, is_dry: bool = False
) -> Compaction:
    """Let go of what is older than its contract allows, and of words that later ones have replaced.

    It is done in small steps, between which others append; where it is interrupted, the next time finishes it.

    Args:
        log: It is written to unless `is_dry`.
        door: To the landing of the same home.
        contracts: By name; one without retention keeps all.
        now: Ages are counted from its day, in UTC.
        is_dry: Count what would leave, and leave it. What depends on an earlier step is not counted.

    Raises:
        LogUnavailableError: the log cannot be used; what left before has left.

    """
    work = _Work(log, contracts, now, is_dry=is_dry)
    work.empty_replaced_words()
    work.remove_old_days(door)
    work.remove_empty_records()
    return Compaction(dict(work.removed), dict(work.emptied), _remove_batches(log, door, contracts, now, is_dry=is_dry))


class _Word(NamedTuple):
    """A record that holds until a later one about the same is said."""

    offset: int
    about: tuple[str, ...]
    rank: tuple[datetime, str]
    names: tuple[str, ...]
    """Of whoever it is about."""
    arrived: Arrived


class _Work:
    def __init__(self, log: OpenLog, contracts: Mapping[str, Contract], now: datetime, *, is_dry: bool) -> None:
        self._log = log
        self._contracts = contracts
        self._now = now
        self._is_dry = is_dry
        self.removed: Counter[str] = Counter()
        self.emptied: Counter[str] = Counter()
        names = [*contracts, *(f"{LANDED}{name}" for name in contracts), _NO_CONTRACT]
        # A log never forgets how far it has come, which its newest record says.
        self._newest = max((each.offset for name in names for each in log.arrived_sync(name)), default=0)

    def empty_replaced_words(self) -> None:
        """Leave the id of each word that another has replaced."""
        erasures: defaultdict[str, list[int]] = defaultdict(list)
        switches: list[_Word] = []
        for arrived, (offset, record) in self._records([_NO_CONTRACT]):
            for effect in _effects(record):
                if isinstance(effect, CustomerErased):
                    for name in effect.names:
                        erasures[name].append(offset)
                elif word := _word(offset, effect, arrived):
                    switches.append(word)
        self._empty(_replaced(switches, erasures))
        for contract in _LAST_WORDS:
            found = self._records([contract, f"{LANDED}{contract}"])
            said = ((offset, effect, arrived) for arrived, (offset, record) in found for effect in _effects(record))
            words = [word for each in said if (word := _word(*each))]
            self._empty(_replaced(words, erasures))

    def remove_old_days(self, door: Door) -> None:
        """Take out each day that is older than its contract allows and has landed as the log has it."""
        landed = landed_days(door)
        for name in LOG_CONTRACTS:
            for arrived in self._old(name) if name not in _LAST_WORDS else ():
                if has_arrived(landed, arrived):
                    self._let_go(arrived, self._pages(arrived))

    def remove_empty_records(self) -> None:
        """Take out what no contract has rows of, once neither its id nor what it counts is asked for."""
        with_decisions = self._before("decisions")
        for arrived in self._old(_NO_CONTRACT):
            for page in self._pages(arrived):
                gone = [
                    (offset, record)
                    for offset, record in page
                    if (record.type == ERASED and not is_landed(record))
                    or (record.type in {"decision", IMPRESSION} and arrived.day < with_decisions)
                ]
                self._write(arrived, gone=[offset for offset, _ in gone], left=[])

    def _let_go(self, arrived: Arrived, pages: Iterable[list[Entry]]) -> None:
        """From the oldest record on: until the last page is written the day's offset is what has landed."""
        for page in pages:
            seen = [(offset, record) for offset, record in page if record.type == IMPRESSION and record.decision_id]
            left = [(offset, without_customer(record)) for offset, record in seen]
            kept = {offset for offset, _ in left}
            self._write(arrived, gone=[offset for offset, _ in page if offset not in kept], left=left)
        if not self._is_dry:
            self._log.remove_sync(arrived, [])  # nor is it a day any more of which only erasures left something

    def _empty(self, words: Iterable[_Word]) -> None:
        """A day of consents lands without what is emptied of it: that is only due when the contract says so."""
        by_day: defaultdict[Arrived, set[int]] = defaultdict(set)
        for word in words:
            lands = word.arrived.contract in LOG_CONTRACTS
            if word.arrived.day < (self._before(word.arrived.contract) if lands else self._before(_NO_CONTRACT)):
                by_day[word.arrived].add(word.offset)
        for arrived, offsets in by_day.items():
            for page in self._pages(arrived):
                left = [(offset, without_customer(record)) for offset, record in page if offset in offsets]
                self._write(arrived, gone=[], left=left)

    def _write(self, arrived: Arrived, gone: list[int], left: list[Entry]) -> None:
        gone = [offset for offset in gone if offset != self._newest]
        if not self._is_dry and (gone or left):
            self._log.remove_sync(arrived, gone, left)
        name = arrived.contract.removeprefix(LANDED)
        self.removed += Counter({name: len(gone)})
        self.emptied += Counter({name: len(left)})

    def _records(self, names: Iterable[str]) -> Iterator[tuple[Arrived, Entry]]:
        for arrived in (each for name in names for each in self._log.arrived_sync(name)):
            for page in self._pages(arrived):
                for entry in page:
                    yield arrived, entry

    def _pages(self, arrived: Arrived) -> Iterator[list[Entry]]:
        after = 0
        while page := self._log.of_day_sync(arrived, after, _PAGE):
            yield page
            after = page[-1][0]

    def _old(self, name: str) -> list[Arrived]:
        return [each for each in self._log.arrived_sync(name) if each.day < self._before(name)]

    def _before(self, name: str) -> str:
        """The first day of which records stay; what no contract has rows of stays as long as its id is asked for."""
        return _first_day(self._contracts.get(name), self._now) if name else _day(self._now - DEDUPLICATED)


def _effects(record: Envelope) -> Iterator[object]:
    """What a record does to State; nothing where it is malformed, as State has it."""
    try:
        yield from effects(record)
    except msgspec.MsgspecError:
        return


def _word(offset: int, effect: object, arrived: Arrived) -> _Word | None:
    """Ranked as State does it: the later one holds, of two at the same moment the stricter, which its word says too."""
    match effect:
        case ConsentChanged(customer_id=customer_id, purpose=purpose, status=status, at=at):
            return _Word(offset, (customer_id, purpose), (at, status), (customer_id,), arrived)
        case NamesTied(one=one, other=other, tie=tie):
            at = from_microseconds(tie.latest)
            said = "landed" if tie.landed else "split" if tie.split else "joined"
            return _Word(offset, (one, other, said), (at, ""), (one, other), arrived)
        case ActionSwitched(action=action, is_paused=is_paused, at=at):
            return _Word(offset, (action,), (at, str(is_paused)), (), arrived)
        case SignalSaid(signal=said, occurred_at=occurred_at):
            return _Word(offset, (said.signal, said.key), (said.at, rank(said, occurred_at)), (), arrived)
    return None


def _replaced(words: Iterable[_Word], erasures: Mapping[str, list[int]]) -> Iterator[_Word]:
    """The words that hold no more once all have been said; an erasure ends what its customer's words held."""
    holds: dict[tuple[str, ...], _Word] = {}
    for word in sorted(words):
        held = holds.get(word.about)
        if held is None:
            holds[word.about] = word
            continue
        ends = [erasures.get(name, []) for name in held.names]
        is_over = any(bisect(each, held.offset) != bisect(each, word.offset) for each in ends)
        if is_over or word.rank >= held.rank:
            holds[word.about] = word
            yield held
        else:
            yield word


def _remove_batches(
    log: OpenLog, door: Door, contracts: Mapping[str, Contract], now: datetime, *, is_dry: bool
) -> dict[str, int]:
    """Take out of the landing each delivery that is older than its contract allows; a day of the log's after the log's.

    Of a snapshot there is one delivery, whatever its age: it says what is.
    """
    removed = {}
    for name, contract in contracts.items():
        if contract.event_time is None or contract.retention_days is None:
            continue
        first = _day(now - timedelta(days=contract.retention_days))
        logged = {source_name(each.day) for each in log.arrived_sync(name)}
        old = [each for each in door.receipts(name) if each.source_name not in logged and _newest(door, each) < first]
        if old:
            removed[name] = len(old)
            if not is_dry:
                door.forget(name, old)
    return removed


def _newest(door: Door, receipt: Receipt) -> str:
    """The last day that a delivery is about: of the log's the day it arrived."""
    return day_of(receipt) if is_from_log(receipt) else door.newest_day(receipt)


def _first_day(contract: Contract | None, now: datetime) -> str:
    if contract is None or contract.retention_days is None:
        return ""
    return _day(now - max(timedelta(days=contract.retention_days), DEDUPLICATED))


def _day(moment: datetime) -> str:
    return moment.date().isoformat()
