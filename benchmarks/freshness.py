"""Freshness: how soon after it was acknowledged a decision knows an event, on both backends.

Run by `nextbest bench freshness`. A customer does something through `POST /v1/events`; once that is acknowledged, dry
decisions are asked for one after another, and the time is taken when the first is answered that knows it:

    feature     a page was viewed: `live_page_view_count_1h` of the decision is larger
    cap         an offer was clicked twice: the contact policy lets it rest
    consent     marketing was withdrawn: nothing of it is proposed
    posterior   an offer that was seen was redeemed: its correction (`residual_mean`) is another one

What a decision knew is in its record. Rows about the same customer come one at a time; nothing else is under way: it
begins once the processor, which finds a home that was filled without one, has made of its log what is made of it.
"""

import asyncio
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from statistics import median
from typing import Any

import click
import httpx
import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.peers import customers
from benchmarks.peers.homes import prepare_nextbest
from benchmarks.trials.installation import BACKENDS, Installation, installed
from nextbest.adapters.key_file import KeyFile
from nextbest.adapters.policy_files import read_document
from nextbest.records import Candidate, DecisionRecord
from nextbest.wire import DecisionDetails

PLACEMENT, CHANNEL = "home_banner", "web"
VIEWS = "live_page_view_count_1h"
GOALS_MS = {"feature": 100.0, "cap": 100.0, "consent": 100.0, "posterior": 1_000.0}
"""Of the 99th percentile."""
PATIENCE_S = 10.0
OBSERVERS = 20
console = Console(width=None if sys.stdout.isatty() else 120)


class Figures(msgspec.Struct, frozen=True):
    """Milliseconds from an acknowledgement to the answer of the first decision that knows of it."""

    p50_ms: float
    p99_ms: float
    samples: int


class Report(msgspec.Struct, frozen=True):
    """What `--json` writes: by backend and by what is known."""

    backends: dict[str, dict[str, Figures]]


@dataclass(frozen=True, slots=True)
class Channel:
    """Somebody who shows offers, says what came of them, and may read what was decided."""

    client: httpx.Client
    marketing: frozenset[str]
    """The actions that need a yes to marketing and that the contact policy binds."""

    def look(self, customer: str) -> tuple[float, DecisionRecord]:
        """When a dry decision was answered, and all that it knew."""
        made, answered = self.decide(customer, dry_run=True)
        return answered, made

    def decide(self, customer: str, *, dry_run: bool) -> tuple[DecisionRecord, float]:
        body = {"customer": {"customer_id": customer}, "placements": [PLACEMENT], "dry_run": dry_run}
        said = _said(self.client.post("/v1/decisions", json=body))
        answered = time.perf_counter()
        return self._record(said["decision_id"], answered), answered

    def _record(self, decision_id: str, since: float) -> DecisionRecord:
        """On Kafka it can be read only once the home's copy has it."""
        while True:
            found = self.client.get(f"/v1/decisions/{decision_id}")
            if found.status_code != HTTPStatus.NOT_FOUND or time.perf_counter() - since > PATIENCE_S:
                _said(found)
                return msgspec.json.decode(found.content, type=DecisionDetails).record

    def say(self, contract: str, key: str, **row: Any) -> float:
        """Send a row; when it was acknowledged."""
        properties = {key: uuid.uuid4().hex, "occurred_at": datetime.now(UTC).isoformat(), **row}
        _said(self.client.post("/v1/events", json={"events": [{"contract": contract, "properties": properties}]}))
        return time.perf_counter()

    def until(self, customer: str, since: float, is_known: Callable[[DecisionRecord], bool]) -> float:
        """Milliseconds from `since` to the answer of the first decision of which that is so."""
        while True:
            answered, record = self.look(customer)
            if is_known(record):
                return 1_000.0 * (answered - since)
            if answered - since > PATIENCE_S:
                raise click.ClickException(f"what {customer} did was not known in {PATIENCE_S:.0f} s")

    def open(self, record: DecisionRecord) -> Iterator[Candidate]:
        """The offers that no rule keeps from the customer."""
        return (each for each in record.candidates if not each.reason and each.action in self.marketing)


def feature(channel: Channel, customer: str) -> float | None:
    """A page view moves a feature."""
    before = channel.look(customer)[1].features.get(VIEWS, 0.0)
    since = channel.say("events", "event_id", customer_id=customer, type="page_view", channel=CHANNEL)
    return channel.until(customer, since, lambda record: float(record.features.get(VIEWS, 0.0)) > float(before) + 0.5)


def cap(channel: Channel, customer: str) -> float | None:
    """Two clicks on an offer let it rest."""
    action = next((each.action for each in channel.open(channel.look(customer)[1])), None)
    if action is None:
        return None
    click_ = {"customer_id": customer, "type": "click", "channel": CHANNEL, "action": action}
    channel.say("events", "event_id", **click_)
    since = channel.say("events", "event_id", **click_)
    return channel.until(customer, since, lambda record: action not in {each.action for each in channel.open(record)})


def consent(channel: Channel, customer: str) -> float | None:
    """A withdrawal leaves nothing to propose."""
    if not any(channel.open(channel.look(customer)[1])):
        return None
    said = {"customer_id": customer, "purpose": "marketing", "status": "withdrawn", "regime": "opt_in"}
    since = channel.say("consents", "consent_id", **said)
    return channel.until(customer, since, lambda record: not any(channel.open(record)))


def posterior(channel: Channel, customer: str) -> float | None:
    """A redemption of what was seen moves what is believed of the offer, as the decision of somebody else shows.

    For the customer the offer rests then. Silence that goes on moves it too, but down.
    """
    made, _ = channel.decide(customer, dry_run=False)
    slot = made.placements[0].slots[0]
    observer = next(_observers(channel, slot.action), None) if made.learning else None
    if observer is None:
        return None
    row = {"customer_id": customer, "action": slot.action, "decision_id": made.decision_id, "slot": slot.slot}
    channel.say("events", "event_id", type="impression", channel=CHANNEL, treatment=slot.treatment, **row)
    time.sleep(GOALS_MS["posterior"] / 1_000.0)  # what that moves is over by then
    before = _correction(channel.look(observer)[1], slot.action) or 0.0
    since = channel.say("outcomes", "outcome_id", kind="redemption", value=4.0, currency="USD", **row)
    return channel.until(observer, since, lambda record: (_correction(record, slot.action) or 0.0) > before)


def _observers(channel: Channel, action: str) -> Iterator[str]:
    """Some for whom the action is open."""
    for each in customers.ids()[-OBSERVERS:]:
        if action in {candidate.action for candidate in channel.open(channel.look(each)[1])}:
            yield each


def _correction(record: DecisionRecord, action: str) -> float | None:
    return next((each.residual_mean for each in record.candidates if each.action == action), None)


KINDS: dict[str, Callable[[Channel, str], float | None]] = {
    "feature": feature,
    "cap": cap,
    "consent": consent,
    "posterior": posterior,
}


@click.command()
@click.option("--json", "target", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here.")
@click.option("--samples", type=click.IntRange(5, 500), default=60, show_default=True, help="Of each kind.")
@click.option("--only", multiple=True, type=click.Choice(BACKENDS), help="Only this backend.")
def main(target: Path | None, samples: int, only: tuple[str, ...]) -> None:
    """Measure each kind on both backends and print a table."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends this ends what it has started
    report = Report({backend: measured(backend, samples) for backend in only or BACKENDS})
    console.print(table(report))
    for line in verdicts(report):
        console.print(line)
    if target:
        target.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def measured(backend: str, samples: int) -> dict[str, Figures]:
    """Every kind on one backend, in a home of its own."""
    with tempfile.TemporaryDirectory(prefix="nextbest-bench-") as folder:
        home = Path(folder).resolve() / "home"
        with installed(backend, home, prepare_nextbest, has_clock=False) as at, _channel(at) as client:
            asyncio.run(at.through())
            channel = Channel(client, _marketing(at))
            found = {}
            for number, (kind, wait) in enumerate(KINDS.items()):
                console.print(f"{backend}: {kind} …", style="dim")
                who = customers.ids()[number : -OBSERVERS : len(KINDS)]  # nobody does two of these
                found[kind] = _figures([*_first(who, wait, channel, samples)])
            return found


def _first(
    who: Sequence[str], wait: Callable[[Channel, str], float | None], channel: Channel, samples: int
) -> Iterator[float]:
    """The first samples; who cannot do it is passed over: one of the control group, or who did not say yes."""
    left = samples
    for customer in who:
        if left and (ms := wait(channel, customer)) is not None:
            left -= 1
            yield ms


def _channel(at: Installation) -> httpx.Client:
    keys = KeyFile(at.settings.api_keys)
    _, key = keys.create("freshness", ("decide", "events", "admin"), 0, datetime.now(UTC))
    return httpx.Client(base_url=at.url, headers={"Authorization": f"Bearer {key}"}, timeout=PATIENCE_S)


def _marketing(at: Installation) -> frozenset[str]:
    document = read_document(at.settings.folder("policies"))
    bound = document.contact_policy.binds
    return frozenset(
        each.id for each in document.actions.actions if each.purpose == "marketing" and each.action_class in bound
    )


def _figures(found: Sequence[float]) -> Figures:
    ordered = sorted(found)
    return Figures(round(median(ordered), 1), round(ordered[int(0.99 * (len(ordered) - 1) + 0.5)], 1), len(ordered))


def _said(response: httpx.Response) -> Any:
    if not response.is_success:
        raise click.ClickException(f"{response.request.url.path}: {response.status_code}: {response.text}")
    return response.json()


def table(report: Report) -> Table:
    """One row per backend and kind."""
    shown = Table("backend", "from an event to", "p50 ms", "p99 ms", "samples", box=None)
    for backend, kinds in report.backends.items():
        for kind, each in kinds.items():
            shown.add_row(backend, kind, f"{each.p50_ms:.1f}", f"{each.p99_ms:.1f}", str(each.samples))
    return shown


def verdicts(report: Report) -> Iterator[str]:
    """Each goal, and whether it was met."""
    for backend, kinds in report.backends.items():
        for kind, each in kinds.items():
            is_met = "met" if each.p99_ms <= GOALS_MS[kind] else "MISSED"
            yield f"{backend}: {kind} p99 {each.p99_ms:.1f} ms: {is_met} ({GOALS_MS[kind]:,.0f} ms)"


if __name__ == "__main__":
    main(prog_name="nextbest bench freshness")
