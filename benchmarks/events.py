"""Events over HTTP: how many the door takes, how soon it says so, and how soon a decision sees them.

Run by `nextbest bench events`. On both logs, in one run: events one by one and in batches of a hundred through
`POST /v1/events` (checked by their contract, logged, acknowledged when durable) beside the limit, which is the bare
log: rows of the same length inserted into SQLite, or produced to the same broker by aiokafka, a hundred at a time, with
no HTTP, no contract and no JSON. *Visible* is from an acknowledgement to the answer of the first decision that the
event changed.
"""

import asyncio
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiokafka
import click
import httpx
import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.peers import customers
from benchmarks.peers.homes import prepare_nextbest
from benchmarks.peers.load import Load, find_wrk
from benchmarks.trials.installation import BACKENDS, Installation, installed
from nextbest.adapters.policy_files import read_document

BATCH = 100
FEW, MANY = 8, 32
WARM_S = 2
LOOKS = 60
PATIENCE_S = 10.0
LIMIT_S = 3.0
GOAL_OF_LIMIT, GOAL_VISIBLE_MS = 1 / 3, 100.0
_TEXT = "x" * 700
"""About as long as the envelope of an event."""
console = Console(width=None if sys.stdout.isatty() else 160)


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Events a second, and milliseconds."""

    single_eps: float
    """One a request, 32 connections."""
    batch100_eps: float
    """A hundred a request, 8 connections."""
    limit_eps: float
    ack_p50_ms: float
    """One a request, 8 connections."""
    ack_p99_ms: float
    visible_p50_ms: float
    visible_p99_ms: float
    errors: int


class Report(msgspec.Struct, frozen=True):
    """What `--json` writes."""

    logs: dict[str, Figures]


@click.command()
@click.option("--json", "target", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here.")
@click.option("--seconds", type=click.IntRange(1, 60), default=5, show_default=True, help="How long each is measured.")
@click.option("--only", multiple=True, type=click.Choice(BACKENDS), help="Only this log.")
def main(target: Path | None, seconds: int, only: tuple[str, ...]) -> None:
    """Measure both logs and print a table."""
    find_wrk()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends this ends what it has started
    logs = {}
    for backend in only or BACKENDS:
        console.print(f"{backend} …", style="dim")
        with tempfile.TemporaryDirectory(prefix="nextbest-bench-") as folder:
            home = Path(folder).resolve() / "home"
            with installed(backend, home, prepare_nextbest, has_clock=False) as installation:
                logs[backend] = measure(installation, backend, seconds)
    report = Report(logs)
    console.print(table(report))
    for line in verdicts(report):
        console.print(line)
    if target:
        target.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def measure(at: Installation, backend: str, seconds: int) -> Figures:
    """Everything of one log; what is visible first, once the processor has caught up with what the home holds."""
    asyncio.run(at.through())
    seen = sorted(visible_ms(at))
    url, headers = f"{at.url}/v1/events", {"Authorization": f"Bearer {at.key}"}
    single, batch = Load(url, headers, events=1), Load(url, headers, events=BATCH)
    seed = time.time_ns() // 1_000_000_000  # ids of an earlier run would be duplicates
    single.run(FEW, WARM_S, seed)
    alone, _ = single.run(FEW, seconds, seed + 1)
    many, _ = single.run(MANY, seconds, seed + 2)
    batches, _ = batch.run(FEW, seconds, seed + 3)
    limit = limit_kafka(at) if backend == "kafka" else limit_sqlite(at.settings.home / "limit.db")
    return Figures(
        single_eps=round(many.rps),
        batch100_eps=round(BATCH * batches.rps),
        limit_eps=round(limit),
        ack_p50_ms=alone.p50_ms,
        ack_p99_ms=alone.p99_ms,
        visible_p50_ms=round(statistics.median(seen), 1),
        visible_p99_ms=round(seen[int(0.99 * (len(seen) - 1) + 0.5)], 1),
        errors=alone.errors + many.errors + batches.errors,
    )


def visible_ms(at: Installation) -> Iterator[float]:
    """For some events, how long after each was acknowledged the first decision that it changed was answered.

    A customer waves an offer away twice, upon which the contact policy lets it rest; then decisions are asked for,
    which count under no cap, until one says so.
    """
    document = read_document(at.settings.folder("policies"))
    bound = {each.id for each in document.actions.actions if each.action_class in document.contact_policy.binds}
    with httpx.Client(base_url=at.url, headers={"Authorization": f"Bearer {at.key}"}, timeout=PATIENCE_S) as client:
        looks = 0
        for customer in customers.ids():
            action = next((each for each in _candidates(client, customer) if each in bound), None)
            if action is None:
                continue  # one of the control group, or of those who did not say yes
            looks += 1
            if looks > LOOKS:
                return
            _dismiss(client, customer, action)
            _dismiss(client, customer, action)
            acknowledged = time.perf_counter()
            while action in _candidates(client, customer):
                if time.perf_counter() - acknowledged > PATIENCE_S:
                    raise click.ClickException(f"an event of {customer} was not seen in {PATIENCE_S:.0f} s")
            yield 1_000 * (time.perf_counter() - acknowledged)


def _candidates(client: httpx.Client, customer: str) -> list[str]:
    """The actions that no rule keeps from the customer."""
    body = {
        "customer": {"customer_id": customer},
        "placements": ["home_banner"],
        "dry_run": True,
        "include": ["explanation"],
    }
    said = _said(client.post("/v1/decisions", json=body))
    return [each["action"] for each in said["explanation"] if not each.get("reason")]


def _dismiss(client: httpx.Client, customer: str, action: str) -> None:
    row = {
        "outcome_id": uuid.uuid4().hex,
        "customer_id": customer,
        "action": action,
        "kind": "dismissal",
        "currency": "USD",
        "occurred_at": datetime.now(UTC).isoformat(),
    }
    _said(client.post("/v1/events", json={"events": [{"contract": "outcomes", "properties": row}]}))


def _said(response: httpx.Response) -> Any:
    if not response.is_success:
        raise click.ClickException(f"{response.request.url.path}: {response.status_code}: {response.text}")
    return response.json()


def limit_sqlite(path: Path) -> float:
    """Rows a second into one table with one key, a hundred a transaction."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")
        connection.execute("CREATE TABLE records (position INTEGER PRIMARY KEY, event_id TEXT UNIQUE, envelope TEXT)")
        count, end = 0, time.perf_counter() + LIMIT_S
        began = time.perf_counter()
        while time.perf_counter() < end:
            connection.execute("BEGIN IMMEDIATE")
            rows = [(f"events/limit-{count + number}", _TEXT) for number in range(BATCH)]
            connection.executemany("INSERT INTO records (event_id, envelope) VALUES (?, ?)", rows)
            connection.execute("COMMIT")
            count += BATCH
        return count / (time.perf_counter() - began)


def limit_kafka(at: Installation) -> float:
    """Messages a second into a topic of the same broker, a hundred at a time, each acknowledged."""

    async def produce() -> float:
        async with aiokafka.AIOKafkaProducer(bootstrap_servers=f"127.0.0.1:{at.way_to_broker.target}") as producer:
            count, end = 0, time.perf_counter() + LIMIT_S
            began = time.perf_counter()
            while time.perf_counter() < end:
                sent = [await producer.send("limit", _TEXT.encode(), b"c1") for _ in range(BATCH)]
                await asyncio.gather(*sent)
                count += BATCH
            return count / (time.perf_counter() - began)

    return asyncio.run(produce())


def table(report: Report) -> Table:
    """One row per log."""
    shown = Table(
        "log", "single/s", "batch 100/s", "limit/s", "of limit", "ack p50 ms", "p99", "visible p50 ms", "p99", box=None
    )
    for name, each in report.logs.items():
        rates = (each.single_eps, each.batch100_eps, each.limit_eps)
        times = (each.ack_p50_ms, each.ack_p99_ms, each.visible_p50_ms, each.visible_p99_ms)
        of_limit = f"{each.batch100_eps / each.limit_eps:.2f}"
        shown.add_row(name, *(f"{rate:,.0f}" for rate in rates), of_limit, *(f"{number:.1f}" for number in times))
    return shown


def verdicts(report: Report) -> Iterator[str]:
    """Each goal, and whether it was met."""
    for name, each in report.logs.items():
        share = each.batch100_eps / each.limit_eps
        yield f"{name}: batches at {share:.2f} of the limit: {_met(share >= GOAL_OF_LIMIT)} (a third)"
        seen_ms = each.visible_p99_ms
        yield f"{name}: visible p99 {seen_ms:.1f} ms: {_met(seen_ms <= GOAL_VISIBLE_MS)} ({GOAL_VISIBLE_MS:.0f} ms)"
        if each.errors:
            yield f"{name}: {each.errors:,} ERRORS: the figures are not to be trusted"


def _met(is_met: bool) -> str:  # noqa: FBT001  one truth in a word
    return "met" if is_met else "MISSED"


if __name__ == "__main__":
    main(prog_name="nextbest bench events")
