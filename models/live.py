"""Live features as training columns: what decisions would have seen, under the names that they see them by.

Belongs here: the landed rows that live states are made of, and a frame of their features. Does not belong here: the
features (`nextbest.live_features`), or features of a day and longer, which come from Feast (`models.frames`).

Only what came through the log counts in live states. A landed row that does not say when it was received came by a
file, and no decision met it so; whoever lands the history of another platform says there when it was received. What a
customer did under another name, such as before a login, is not in it: who was whom at a moment is nothing that lands.
"""

from collections.abc import Iterable, Iterator

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.landing import Door
from nextbest.contracts import Contract
from nextbest.envelope import Envelope
from nextbest.intake import RECEIVED_AT, Envelopes
from nextbest.live import READS
from nextbest.live_features import TEXTS, ZONE, Plan
from nextbest.live_history import history
from nextbest.records import Attribute
from nextbest.settings import Settings


def live_columns(settings: Settings, names: Iterable[str], customers: pd.Series, times: pd.Series) -> pd.DataFrame:
    """Live features of each distinct customer and time, as they were then, by the clock of the customer's time zone.

    Returns:
        `customer_id`, `at` and a column per name, one row per distinct pair; what there was nothing of is missing.

    """
    pairs = pd.DataFrame({"customer_id": customers, "at": times}).drop_duplicates()
    moments = {str(customer): list(each) for customer, each in pairs.groupby("customer_id")["at"]}
    columns = list(names)
    records = landed_records(settings, list(moments))
    found = history(records, moments, Plan(columns), _contexts(Door.of(settings)))
    rows = [{"customer_id": customer, "at": at, **features} for customer, at, features in found]
    frame = pd.DataFrame(rows, columns=["customer_id", "at", *columns])
    numbers = {name: "float64" for name in columns if name not in TEXTS}
    return frame.astype(numbers | {"at": pairs["at"].dtype})


def landed_records(settings: Settings, customers: list[str]) -> Iterator[Envelope]:
    """What has landed of these customers and counts in live states, as the log would have it."""
    door = Door.of(settings)
    for name, contract in load_contracts(settings.folder("contracts")).items():
        if name not in READS:
            continue
        envelopes = Envelopes(contract)
        columns = list(dict.fromkeys((*contract.key, *READS[name], "source")))
        for row in _newest(door.read(name, columns), contract, customers).to_pylist():
            yield envelopes.of(row, row[RECEIVED_AT])


def _contexts(door: Door) -> dict[str, dict[str, Attribute]]:
    """By customer what channels are taken to say: where they are."""
    rows = door.read("customers", ["customer_id", ZONE]).to_pylist()
    return {row["customer_id"]: {ZONE: row[ZONE]} for row in rows}


def _newest(landed: pa.Table, contract: Contract, customers: list[str]) -> pa.Table:
    """Each row of the customers once: of one in two deliveries what was said later, else what was delivered later."""
    of_customers = pc.is_in(landed["customer_id"], pa.array(customers, pa.string()))
    theirs = landed.filter(pc.and_(of_customers, pc.is_valid(landed[RECEIVED_AT])))
    numbered = theirs.append_column("__delivered", pa.array(range(len(theirs))))
    ordered = numbered.sort_by([("occurred_at", "ascending"), ("__delivered", "ascending")])
    keys = ordered.select(list(contract.key)).append_column("__row", pa.array(range(len(ordered))))
    last = keys.group_by(list(contract.key)).aggregate([("__row", "max")])["__row_max"]
    return ordered.take(last).drop_columns("__delivered")
