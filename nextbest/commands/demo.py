"""`nextbest demo`: the whole loop on real data, from landing to outcomes that come back.

Belongs here: the order of the loop's steps and what a person sees of them. Each step is a process or a call of the API:
nothing is imported from a rim. What customers answer is `nextbest.market`; what a decision is, `nextbest.decision`.
"""

import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import click
import msgspec
from rich.console import Console

from nextbest.adapters.key_file import KeyFile
from nextbest.adapters.locks import alone
from nextbest.adapters.sources import load_source
from nextbest.adapters.supervisor import Supervisor
from nextbest.commands import processes
from nextbest.commands.last_weeks import LastWeeks, table
from nextbest.commands.parameters import ReportFile
from nextbest.commands.rehearsal import Rehearsal
from nextbest.commands.this_second import ThisSecond
from nextbest.commands.this_second import table as table_of_moments
from nextbest.errors import NextbestError
from nextbest.market import Market
from nextbest.settings import Settings
from nextbest.source import LiveSource

MARKET_SEED: Final = 20
DECIDING: Final = "propensity,clv"
"""The models that decisions and the page about the demo need; others are trained when asked for."""
LIVE_WEEKS: Final = 2
"""Held back from the first pipeline, to come as events."""
_OWN: Final = "NEXTBEST_DEMO"
"""Variable that marks what a demo started: the next one ends what a killed one left, and nothing else."""


class DemoError(NextbestError):
    """The demo could not start or one of its steps failed."""


@dataclass(slots=True)
class Report:
    """What `--json` writes; filled as the steps finish."""

    ok: bool = False
    landed: dict[str, dict[str, int]] = field(default_factory=dict)
    checks: dict[str, int] = field(default_factory=dict)
    models: list[dict[str, Any]] = field(default_factory=list)
    decisions: Counter[str] = field(default_factory=Counter)
    live: Counter[str] = field(default_factory=Counter)
    """Events of the last weeks that came through the API, by contract."""
    change: dict[str, Any] = field(default_factory=dict)
    """A decision that one of them changed."""
    second: list[dict[str, Any]] = field(default_factory=list)
    """What one customer does, and what the next decisions made of it."""
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.seconds[stage] = round(time.monotonic() - began, 1)

    def write(self, path: Path) -> None:
        content = {name: getattr(self, name) for name in self.__slots__}
        path.write_text(json.dumps(content, indent=2) + "\n")


@dataclass(frozen=True, slots=True)
class Demo:
    """One run of the loop in one home."""

    settings: Settings
    supervisor: Supervisor
    console: Console
    report: Report

    def prepare_and_train(self) -> None:
        """Run the whole pipeline: landing, warehouse, checks, features, models."""
        source = load_source(self.settings)
        if isinstance(source, LiveSource):
            source.keep()
        self.console.rule("pipeline: land, build, check, train")
        with self._pipeline() as outcome:
            self.report.landed, self.report.checks = outcome["landed"], outcome["checks"]
            self.report.models, self.report.seconds = outcome["models"], outcome["seconds"]

    def serve(self, launched: list[processes.Launched], *, interfaces: bool) -> list[processes.Launched]:
        """Wait for what was launched before the pipeline, and start what people look at; returns all of it."""
        self.console.rule("servers")
        services = processes.interface_services(self.settings) if interfaces else []
        with self.report.timed("servers"):
            launched = launched + processes.launch(self.supervisor, services)
            processes.wait_until_ready(self.supervisor, launched, self.console)
        return launched

    @contextmanager
    def rehearsal(self) -> Iterator[Rehearsal]:
        """Customers who come with an API key of their own, which is revoked when they are gone."""
        keys = KeyFile(self.settings.api_keys)
        key, text = keys.create("demo", ("decide", "events", "admin"), 0, datetime.now(UTC))
        try:
            yield Rehearsal(self.settings, text)
        finally:
            keys.revoke(key.id)

    def decide(self, rehearsal: Rehearsal) -> None:
        self.console.rule("decisions")
        champions = {model["name"]: model["version"] for model in self.report.models if model["alias"]}
        if champions:
            with self.report.timed("following"):
                self.console.print(f"model set {rehearsal.wait_for_models(champions)} decides")
        else:
            self.console.print("No model passed its gate (a sample is too small for it): every decision is a fallback.")
        with self.report.timed("decisions"):
            self.report.decisions.update(rehearsal.decide())
        self.console.print(rehearsal.table())

    def explain(self, rehearsal: Rehearsal) -> None:
        """Decide one of the decisions again, and ask why not something else."""
        decision_id, others = rehearsal.in_question()
        if not others:
            return
        self.console.rule("why this, and why not something else")
        questions = [("replay", decision_id), *(("why-not", decision_id, other) for other in others)]
        for question in questions:
            self.console.print(f"nextbest {' '.join(question)}", style="bold", highlight=False)
            command = [processes.PYTHON, "-m", "nextbest", *question]
            if subprocess.run(command, env=self.supervisor.child_environment(), check=False).returncode:
                raise DemoError(f"`nextbest {question[0]}` has no answer: it says so above")

    def live(self, weeks: LastWeeks) -> None:
        """Let the last weeks happen: what was held back comes as events, and the pipeline trains on it."""
        self.console.rule(f"the last {self.settings.live_weeks} weeks, live")
        with self.report.timed("live"):
            weeks.replay(self.console)
        said = " and ".join(f"{count:,} {contract}" for contract, count in weeks.sent.items()) or "nothing"
        self.console.print(f"{said} came through the API in {self.report.seconds['live']} s")
        self.console.rule("pipeline again: what came in lands, and models train on it")
        with self._pipeline() as outcome:
            self.report.landed |= outcome["landed"]
            self.report.models = outcome["models"]
            self.report.seconds["again"] = round(sum(outcome["seconds"].values()), 1)

    def change(self, weeks: LastWeeks) -> None:
        """Let one more event happen, and show the decision that it changes."""
        self.console.rule("one event, and the decision that it changes")
        change = weeks.change()
        self.report.live.update(weeks.sent)
        if change is None:
            self.console.print("Nothing was redeemed lately of what a decision would have proposed.")
            return
        self.report.change = msgspec.to_builtins(change)
        self.console.print(table(change))
        self.console.print(f"A decision {change.seen_after_ms:.0f} ms after the acknowledgement knew it.")

    def this_second(self, rehearsal: Rehearsal) -> None:
        """Let one customer log in, look around, click an offer as often as counts in a day, and redeem it."""
        self.console.rule("the customer of this second")
        customers = [each.customer_id for each in rehearsal.decisions if each.tier == "full" and each.customer_id]
        with self.report.timed("second"):
            moments = ThisSecond(self.settings, rehearsal.key, [*dict.fromkeys(customers)]).happen()
        self.report.second = msgspec.to_builtins(moments)
        if moments:
            self.console.print(table_of_moments(moments))
        else:
            self.console.print(
                "Nobody has an offer open on the page and in the app: there are too few customers for it."
            )

    def close_the_loop(self, rehearsal: Rehearsal) -> None:
        """Send what the market answers as events, and land decisions and answers under their contracts."""
        self.console.rule("outcomes back into the log")
        with self.report.timed("outcomes"):
            answered = rehearsal.answer(Market(MARKET_SEED, within=timedelta(seconds=1)))
        said = ", ".join(f"{count} {kind}s" for kind, count in sorted(answered.items()))
        self.console.print(f"the market (simulated) answered with {said or 'silence'}")
        with self._pipeline("--select", "group:feedback") as outcome:
            self.report.landed |= outcome["landed"]
            self.report.seconds["feedback"] = sum(outcome["seconds"].values())

    @contextmanager
    def _pipeline(self, *arguments: str) -> Iterator[dict[str, Any]]:
        """Run the pipeline and yield what it did, also when a step failed: that is raised once it has been noted."""
        with TemporaryDirectory() as folder:
            path = Path(folder) / "outcome.json"
            command = [processes.PYTHON, "-m", "nextbest", "pipeline", *arguments, "--json", str(path)]
            status = subprocess.run(command, env=self.supervisor.child_environment(), check=False).returncode
            if path.exists():
                yield json.loads(path.read_text())
        if status:
            raise DemoError(f"`nextbest pipeline` ended with status {status}: what failed is said above")


@click.command()
@click.option("--once", is_flag=True, help="End by itself and leave nothing running.")
@click.option(
    "--households",
    type=click.IntRange(min=0),
    help="Take a sample of N households (0: all); small ones train no champion.",
)
@click.option(
    "--full", is_flag=True, help="Train every model (some on a simulated trial), not the two that decide alone."
)
@click.option("--json", "report_path", type=ReportFile(), help="Write a report.")
def demo(*, once: bool, households: int | None, full: bool, report_path: Path | None) -> None:
    """Run the whole loop on real data: land, build, check, train, serve, decide, and take the answers back in.

    Example: nextbest demo --once --json report.json
    """
    settings = Settings.from_env()
    if households is not None:
        settings = replace(settings, households=households)
    settings = replace(settings, live_weeks=settings.live_weeks or LIVE_WEEKS)
    settings = replace(settings, models="" if full else settings.models or DECIDING)
    settings = replace(settings, demo_trial=full or settings.demo_trial)
    # Ended politely is ended by Ctrl-C; and a shell that starts a process in the background has it ignore Ctrl-C.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    console, report = processes.console(), Report()
    supervisor = Supervisor(settings.run, settings.environment() | {_OWN: "1"})
    refusal = DemoError(f"a demo runs already in {settings.home}: end it first, or set NEXTBEST_HOME")
    with alone(settings.run / "demo.lock", refusal):
        if others := supervisor.services_without(_OWN):
            raise DemoError(
                f"{', '.join(others)} of this home run already, and the demo starts its own: `nextbest down`"
            )
        try:
            launched = _run(Demo(settings, supervisor, console, report), once=once)
            if not once:
                if report_path:
                    report.write(report_path)  # whoever reads it need not end the demo for that
                _stay_up(launched, console)
        except KeyboardInterrupt:
            console.print("\nending")
            if not report.ok:
                raise click.Abort from None  # interrupted before the end: no success
        finally:
            supervisor.stop_all()
            if report_path:
                report.write(report_path)


def _run(demo: Demo, *, once: bool) -> list[processes.Launched]:
    """Once round the loop; returns what runs."""
    left = demo.supervisor.stop_all()
    if left:
        demo.console.print(f"ended {len(left)} processes that an earlier run had left")
    began = time.monotonic()
    # What is slow to start starts beside the pipeline, and waits for what the pipeline brings.
    slow = [processes.decision_service(demo.settings), processes.follower_service()]
    launched = processes.launch(demo.supervisor, slow)
    demo.prepare_and_train()
    launched = demo.serve(launched, interfaces=not once)
    with demo.rehearsal() as rehearsal:
        weeks = LastWeeks(demo.settings, rehearsal.key)
        demo.live(weeks)
        demo.decide(rehearsal)
        demo.explain(rehearsal)
        demo.change(weeks)
        demo.this_second(rehearsal)
        demo.close_the_loop(rehearsal)
    demo.report.ok = True
    demo.console.rule(f"done in {time.monotonic() - began:.0f} s")
    return launched


def _stay_up(launched: list[processes.Launched], console: Console) -> None:
    """Say where everything is, until Ctrl-C."""
    for service, _ in launched:
        if service.address:
            console.print(f"{service.name:<15} http://{service.address}", highlight=False)
    console.print("`nextbest keys create --scopes decide` makes a key to ask for decisions with.")
    console.print("Ctrl-C ends it all.")
    signal.pause()
