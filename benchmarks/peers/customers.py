"""The customers that everybody is asked about: their features, what they allow, and what they have seen lately.

Belongs here: values drawn at random, the same ones every time. Does not belong here: where a system keeps them
(`homes`), or what models make of them (`trained`).
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from numpy.typing import NDArray

from nextbest.adapters.marts import SCORES
from nextbest.contracts import Contract
from nextbest.envelope import Envelope
from nextbest.intake import envelope
from nextbest.records import DecisionRecord, PlacementRecord, SlotRecord, rows
from nextbest.settings import CHECKOUT

CUSTOMERS = 5_000
NOW = datetime.now(UTC)
TODAY = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
MARTS = ("customer_profile", "customer_rfm", "department_affinity", "category_affinity", "contact_response")
KEYS = ("customer_id", "as_of")
CATEGORY = "category_spend_182d"

_PURPOSES = ("marketing", "personalization")
_SEEN = ((30, True), (54, True), (78, False))
"""Earlier contacts: hours ago, and whether it was seen."""
_TYPES = {"integer": pa.int64(), "double": pa.float64()}

Column = NDArray[np.float64]


def ids() -> list[str]:
    """The names that `load.lua` draws from."""
    return [f"c{number}" for number in range(1, CUSTOMERS + 1)]


@cache
def marts() -> dict[str, pa.Table]:
    """A table per feature mart as dbt publishes it, one row per customer."""
    chance = np.random.default_rng(11)
    tables = {}
    for mart in MARTS:
        [model] = yaml.safe_load((CHECKOUT / "dbt_project/models/marts" / f"{mart}.yml").read_text())["models"]
        features = {
            column["name"]: pa.array(_values(column["name"], chance)).cast(_TYPES[column["data_type"]], safe=False)
            for column in model["columns"]
            if column["name"] not in KEYS
        }
        tables[mart] = pa.table(_keys() | features)
    return tables


@cache
def scores() -> pa.Table:
    """What models said of every customer, as the pipeline publishes it."""
    chance = np.random.default_rng(12)
    columns = {
        "clv_91d": chance.lognormal(5.0, 0.8, CUSTOMERS),
        "churn_91d": chance.uniform(size=CUSTOMERS),
        "segment": ["frequent, big spenders"] * CUSTOMERS,
        "best_hour": chance.integers(7, 23, CUSTOMERS).astype(np.float64),
        "best_hour_gain": chance.uniform(0.0, 0.3, CUSTOMERS),
        "best_channel": ["email"] * CUSTOMERS,
        "best_channel_gain": chance.uniform(0.0, 0.1, CUSTOMERS),
        "next_category": ["soft_drinks"] * CUSTOMERS,
        "next_category_probability": chance.uniform(size=CUSTOMERS),
        "model_versions": ["churn 1, clv 1, intent 1, preferences 1, segments 1"] * CUSTOMERS,
    }
    return pa.table(_keys() | columns, schema=SCORES)


def wide() -> pa.Table:
    """Every number that is known of a customer, in one table."""
    columns = {name: table[name] for table in (*marts().values(), scores()) for name in table.column_names}
    for text in ("segment", "best_channel", "next_category", "model_versions"):
        del columns[text]
    return pa.table(columns)


def consents(contract: Contract) -> Iterator[Envelope]:
    """Of twenty customers one has said nothing, and one has withdrawn what they, as all others, had granted."""
    for number, customer in enumerate(ids()):
        if number % 20 == 0:
            continue
        for purpose in _PURPOSES:
            yield _consent(contract, customer, purpose, "granted", NOW - timedelta(days=200))
            if number % 20 == 1:
                yield _consent(contract, customer, purpose, "withdrawn", NOW - timedelta(days=20))


def history(decisions: Contract, events: Contract, actions: list[tuple[str, str]]) -> Iterator[Envelope]:
    """Three earlier decisions of every customer, of `actions` with their groups; two of the three were seen."""
    for number, customer in enumerate(ids()):
        for turn, (hours, was_seen) in enumerate(_SEEN):
            action, group = actions[(number * 7 + turn * 5) % len(actions)]
            made = _decision(f"{customer}-{turn}", customer, action, group, NOW - timedelta(hours=hours))
            yield from (envelope(decisions, row, made.occurred_at) for row in rows(made))
            if was_seen:
                yield _impression(events, made, action)


def _keys() -> dict[str, Any]:
    return {"customer_id": ids(), "as_of": pa.array([TODAY] * CUSTOMERS, pa.timestamp("us", tz="UTC"))}


def _values(name: str, chance: np.random.Generator) -> Column:
    """Values of the kind that the name tells of: most customers little, few of them much."""
    words = set(name.split("__", maxsplit=1)[0].split("_"))
    if words & {"is", "has"}:
        return chance.integers(0, 2, CUSTOMERS).astype(np.float64)
    if "ordinal" in words:
        return chance.integers(0, 6, CUSTOMERS).astype(np.float64)
    if words & {"share", "rate"}:
        return chance.beta(1.5, 6.0, CUSTOMERS)
    if words & {"spend", "discount", "value", "trend"}:
        bought = chance.uniform(size=CUSTOMERS) < 0.8  # noqa: PLR2004  four of five bought at all
        return np.where(bought, chance.lognormal(3.0, 1.0, CUSTOMERS), 0.0)
    if "days" in words:
        return chance.integers(0, 365, CUSTOMERS).astype(np.float64)
    return chance.negative_binomial(1, 0.1, CUSTOMERS).astype(np.float64)


def _consent(contract: Contract, customer: str, purpose: str, status: str, at: datetime) -> Envelope:
    row = {
        "consent_id": f"{customer}-{purpose}-{status}",
        "customer_id": customer,
        "purpose": purpose,
        "status": status,
        "regime": "opt_in",
        "occurred_at": at,
        "source": "simulated",
    }
    return envelope(contract, row, at)


def _decision(decision_id: str, customer: str, action: str, group: str, at: datetime) -> DecisionRecord:
    """As much of a record as State looks at."""
    slot = SlotRecord(
        slot=0,
        action=action,
        treatment=f"{action}_home",
        group=group,
        probability=1.0,
        reservation_id=f"{decision_id}/0",
        expires_at=at + timedelta(minutes=30),
    )
    return DecisionRecord(
        decision_id=decision_id,
        request_id=decision_id,
        occurred_at=at,
        customer_id=customer,
        policy_hash="earlier",
        placements=(PlacementRecord(id="home_banner", channel="web", pmf={}, order=(), slots=(slot,)),),
    )


def _impression(contract: Contract, made: DecisionRecord, action: str) -> Envelope:
    row = {
        "event_id": f"{made.decision_id}-seen",
        "customer_id": made.customer_id,
        "type": "impression",
        "channel": "web",
        "action": action,
        "decision_id": made.decision_id,
        "slot": 0,
        "occurred_at": made.occurred_at + timedelta(seconds=5),
        "received_at": made.occurred_at + timedelta(seconds=6),
        "source": "simulated",
    }
    return envelope(contract, row, made.occurred_at + timedelta(seconds=6))
