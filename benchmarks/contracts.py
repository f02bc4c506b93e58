"""How fast a contract is enforced: the demo's 1.47 million transactions, and events one by one.

Every contender takes the same table in turn, several times; figures are medians of one run. The limit only reads the
file and casts its columns, which every validator has to do; Great Expectations runs the suite of the same contract that
the pipeline runs, and pydantic a model of the same fields.
"""

import os
import tempfile
import time
import types
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Literal

import click
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pydantic
from pyarrow import csv
from rich.console import Console
from rich.table import Table

from nextbest.adapters.complete_journey import CompleteJourney
from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.deliveries import read_delivery
from nextbest.contracts import Contract
from nextbest.row_check import RowCheck
from nextbest.settings import CHECKOUT, Settings
from nextbest.validation import validate
from orchestration.expectations import run_suite

REPEATS = 5
BATCHES = (1, 100, 500)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PYTHON_TYPES = {"VARCHAR": str, "BIGINT": int, "DOUBLE": float, "TIMESTAMPTZ": datetime}
BOUNDS = {"pattern": "pattern", "min_length": "min_length", "minimum": "ge", "maximum": "le"}

Work = Callable[[], object]


@click.command()
@click.option("--json", "report", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here.")
@click.option("--rows", type=int, default=None, help="Only so many transactions.")
def main(report: Path | None, rows: int | None) -> None:
    """Measure the door, its peers and its limit."""
    with tempfile.TemporaryDirectory() as folder:
        tables = measure_tables(Path(folder), rows)
    events = measure_events(load_contracts(CHECKOUT / "data_contracts")["events"])
    figures = {"cpus": os.cpu_count(), "repeats": REPEATS, "transactions": tables, "events": events}
    show(tables, events)
    if report:
        report.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=2))


def measure_tables(folder: Path, rows: int | None) -> dict[str, Any]:
    """Rows per second of each contender on the transactions, as Parquet and as CSV."""
    contract = load_contracts(CHECKOUT / "data_contracts")["transactions"]
    source = CompleteJourney(Settings(home=folder))
    table = source.read("transactions").slice(0, rows)
    names = [field.reference.split(".") for field in contract.fields if field.reference]
    known = {f"{target}.{column}": source.read(target)[column].unique() for target, column in names}
    parquet, text = folder / "transactions.parquet", folder / "transactions.csv"
    pq.write_table(table, parquet)
    csv.write_csv(table, text)
    run_suite(contract, table.slice(0, 1_000), known)  # the library takes seconds to import
    seconds = side_by_side(
        {
            "validate": lambda: validate(contract, table, known),
            "parquet: limit": lambda: cast_parquet(contract, parquet),
            "parquet: read and validate": lambda: validate(contract, read_delivery(contract, parquet), known),
            "parquet: Great Expectations": lambda: run_suite(contract, pq.read_table(parquet), known),
            "csv: limit": lambda: cast_csv(contract, text),
            "csv: read and validate": lambda: validate(contract, read_delivery(contract, text), known),
        }
    )
    return {
        "rows": table.num_rows,
        "rows_per_s": {name: round(table.num_rows / each) for name, each in seconds.items()},
        "times_the_limit": {
            kind: round(seconds[f"{kind}: read and validate"] / seconds[f"{kind}: limit"], 2)
            for kind in ("parquet", "csv")
        },
        "times_faster_than_great_expectations": round(
            seconds["parquet: Great Expectations"] / seconds["parquet: read and validate"], 2
        ),
    }


def side_by_side(contenders: Mapping[str, Work]) -> dict[str, float]:
    """Median seconds of each, taken in turn so that a busy moment of the machine meets all of them."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(REPEATS):
        for name, work in contenders.items():
            start = time.perf_counter()
            work()
            taken[name].append(time.perf_counter() - start)
    return {name: median(each) for name, each in taken.items()}


def cast_parquet(contract: Contract, path: Path) -> int:
    """Read, cast, look for nulls: what no validator can do without."""
    return nulls(pq.read_table(path).cast(contract.schema))


def cast_csv(contract: Contract, path: Path) -> int:
    """Let the reader parse each column as what it is."""
    columns = {field.name: field.arrow_type for field in contract.fields}
    return nulls(csv.read_csv(path, convert_options=csv.ConvertOptions(column_types=columns)))


def nulls(table: pa.Table) -> int:
    """How many values are missing."""
    return sum(column.null_count for column in table.columns)


def measure_events(contract: Contract) -> dict[str, Any]:
    """Events per second at the API's intake and through pydantic, by the size of a request."""
    request, check = pydantic_request(contract), RowCheck(contract, str.isalnum).check
    figures = {}
    for size in BATCHES:
        rows, times = [event(number) for number in range(size)], 500 // size + 1
        seconds = side_by_side(
            {
                "intake": repeated(partial(check, rows, NOW), times),
                "pydantic": repeated(partial(request.model_validate, {"events": rows}), times),
            }
        )
        figures[str(size)] = {name: round(size * times / each) for name, each in seconds.items()}
    return figures


def repeated(work: Work, times: int) -> Work:
    """Work that is too short to be timed, done many times."""
    return lambda: [work() for _ in range(times)]


def event(number: int) -> dict[str, Any]:
    """What a channel sends."""
    at = (NOW - timedelta(seconds=number)).isoformat()
    return {
        "event_id": f"e{number}",
        "customer_id": f"c{number % 97}",
        "type": "product_view",
        "channel": "web",
        "category": "beef",
        "session_id": f"s{number % 13}",
        "occurred_at": at,
        "received_at": at,
        "source": "live",
    }


def pydantic_request(contract: Contract) -> type[pydantic.BaseModel]:
    """Events with the fields, lists, patterns and bounds of the contract; keys are left to whoever uses it."""
    fields: dict[str, Any] = {}
    for field in contract.fields:
        kind: Any = Literal[field.enum] if field.enum else PYTHON_TYPES[field.physical_type]
        bounds: dict[str, Any] = {
            BOUNDS[rule.kind]: datetime.fromisoformat(str(rule.argument)) if kind is datetime else rule.argument
            for rule in field.rules
            if rule.kind in BOUNDS
        }
        kind = Annotated[kind, pydantic.Field(**bounds)]
        fields[field.name] = (kind, ...) if field.required else (kind | None, None)
    events: Any = types.GenericAlias(list, (pydantic.create_model("Event", **fields),))
    return pydantic.create_model("Request", events=(events, ...))


def show(tables: Mapping[str, Any], events: Mapping[str, Mapping[str, int]]) -> None:
    """Print both tables."""
    rates = Table("transactions", "rows/s", title=f"{tables['rows']:,} rows, median of {REPEATS}")
    for name, rate in tables["rows_per_s"].items():
        rates.add_row(name, f"{rate:,}")
    slower = ", ".join(f"{kind} {times}" for kind, times in tables["times_the_limit"].items())
    single = Table("events in a request", "intake, events/s", "pydantic, events/s", "intake to pydantic")
    for size, rate in events.items():
        ratio = rate["intake"] / rate["pydantic"]
        single.add_row(size, f"{rate['intake']:,}", f"{rate['pydantic']:,}", f"{ratio:.2f}")
    peer = tables["times_faster_than_great_expectations"]
    said: Sequence[Any] = (rates, f"times the limit: {slower}; times faster than Great Expectations: {peer}", single)
    Console().print(*said, sep="\n")


if __name__ == "__main__":
    main(prog_name="nextbest bench contracts")
