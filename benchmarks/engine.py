"""The engine alone: what a decision costs by the number of actions and of rules, and beside it what CEL alone costs.

Run by `nextbest bench engine`. Model scores are given; everything else is on: consent, three tiers of rules, caps,
limits, suppressions, quiet hours, experiments, inverse-gap exploration with a floor, the reservation (in memory) and
the record. Every rule is an expression of its own over sixty features; with more actions than rules they share them,
with more rules than actions an action has several. The limit beside it is the same rules by CEL and nothing else.
"""

import gc
import random
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cel
import click
import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from nextbest.decision import decide, settle
from nextbest.features import Matrix
from nextbest.messages import Profile, Request
from nextbest.model_set import Model, ModelSet, model_set
from nextbest.policy import Policy
from nextbest.policy_check import check
from nextbest.policy_compiler import compile_policy
from nextbest.policy_document import PolicyDocument
from nextbest.records import Contact, DecisionRecord, Snapshot
from nextbest.reservations import reserve
from nextbest.situation import Models

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
ACTIONS, RULES = (20, 100, 1_000), (10, 100)
FEATURES = 60
STAGES = ("screening", "scoring", "arbitration", "reserve", "settle")
SECONDS = 2.0
LIMIT_US = 300.0


class Figure(msgspec.Struct, frozen=True):
    """Microseconds of one combination: `cel_us` is the same rules by CEL alone, in the same run."""

    p50_us: float
    p99_us: float
    stages_us: dict[str, float]
    cel_us: float
    candidates: int


class GivenScores:
    """Models whose scores are given: what they cost is not the engine's."""

    def __init__(self, actions: int) -> None:
        propensity = Model(
            name="propensity", version="1", run_id="", file="", sha256="", features=(), output="probability"
        )
        self.model_set: ModelSet = model_set([propensity], NOW)
        self._scores = np.random.default_rng(1).uniform(0.01, 0.1, actions)

    def score(self, _name: str, matrix: Matrix) -> NDArray[np.float64]:
        return self._scores[: len(matrix)]

    def score_beside(self, name: str, matrix: Matrix) -> NDArray[np.float64]:
        raise LookupError(f"{name} has no shadow, and a shadow of {len(matrix)} rows was asked")


@click.command()
@click.option("--json", "report", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here.")
def main(report: Path | None) -> None:
    """Measure every combination and print a table."""
    figures: dict[str, dict[str, Figure]] = {}
    table = Table("actions", "rules", "p50 µs", "p99 µs", *STAGES, "CEL alone", "ratio", box=None)
    for actions in ACTIONS:
        for rules in RULES:
            figure = measure(actions, rules)
            figures.setdefault(str(actions), {})[f"rules{rules}"] = figure
            stages = [f"{figure.stages_us[stage]:.0f}" for stage in STAGES]
            ratio = f"{figure.p50_us / figure.cel_us:.1f}"
            cells = [f"{figure.p50_us:.0f}", f"{figure.p99_us:.0f}", *stages, f"{figure.cel_us:.0f}", ratio]
            table.add_row(str(actions), str(rules), *cells)
    Console().print(table)
    for line in verdicts(figures):
        Console().print(line)
    if report:
        report.write_bytes(msgspec.json.format(msgspec.json.encode({"actions": figures})) + b"\n")


def verdicts(figures: dict[str, dict[str, Figure]]) -> Iterator[str]:
    """Whether the goals are met: the budget of a hundred actions, and no growth beyond linear."""
    hundred = max(figure.p50_us for figure in figures["100"].values())
    yield f"100 actions: {hundred:.0f} µs at the median, of {LIMIT_US:.0f} allowed"
    for rules in RULES:
        few, many = (figures[str(actions)][f"rules{rules}"].p50_us for actions in (100, 1_000))
        yield f"{rules} rules: ten times the actions cost {many / few:.1f} times as much"
    for actions in ACTIONS:
        few, many = (figures[str(actions)][f"rules{rules}"].p50_us for rules in RULES)
        yield f"{actions} actions: ten times the rules cost {many / few:.1f} times as much"


def measure(actions: int, rules: int) -> Figure:
    """The cost of one combination, over as many decisions as fit in `SECONDS`."""
    document = PolicyDocument.model_validate(policy_of(actions, rules))
    if problems := [problem.message for problem in check(document) if problem.level == "error"]:
        raise click.ClickException(f"the benchmark's policy has mistakes: {problems[0]}")
    policy, models = compile_policy(document), GivenScores(actions)
    profile, contacts = Profile(features=features()), history()
    snapshot = Snapshot(consents={"marketing": "granted"}, contacts=contacts)
    totals: list[float] = []
    stages: dict[str, list[float]] = {stage: [] for stage in STAGES}
    record = None
    gc.collect()
    gc.freeze()
    for number in warmed(SECONDS):
        request = Request(decision_id=f"d{number}", request_id="r", customer_id="c1", placements=("home",))
        record, laps = decision(request, profile, policy, models, snapshot)
        for stage, took in laps.items():
            stages[stage].append(took)
        totals.append(sum(laps.values()))
    gc.unfreeze()
    skip = len(totals) // 10
    taking_part = sum(not each.reason for each in record.candidates) if record else 0
    return Figure(
        p50_us=statistics.median(totals[skip:]),
        p99_us=float(np.percentile(totals[skip:], 99)),
        stages_us={stage: statistics.median(took[skip:]) for stage, took in stages.items()},
        cel_us=cel_alone(policy),
        candidates=taking_part,
    )


def decision(
    request: Request, profile: Profile, policy: Policy, models: Models, snapshot: Snapshot
) -> tuple[DecisionRecord, dict[str, float]]:
    """One decision, with the microseconds of its stages."""
    laps: dict[str, float] = {}
    last = time.perf_counter_ns()

    def lap(stage: str) -> None:
        nonlocal last
        now = time.perf_counter_ns()
        laps[stage] = (now - last) / 1_000
        last = now

    proposal = decide(request, profile, policy, models, snapshot, NOW, lap=lap)
    grant, _ = reserve(proposal, snapshot.contacts, NOW)
    lap("reserve")
    record = settle(proposal, grant)
    lap("settle")
    return record, laps


def cel_alone(policy: Policy) -> float:
    """The median microseconds of building one context and evaluating every distinct rule in it."""
    programs = [cel.compile(source) for source in {rule.source for a in policy.actions.values() for _, rule in a.rules}]
    values = {feature.name: 0.5 for feature in policy.features}

    def once() -> None:
        context = cel.Context(values)
        for program in programs:
            program.execute(context)

    return timed(once)


def timed(job: Callable[[], object]) -> float:
    """The median microseconds of a job."""
    took = []
    for _ in warmed(0.3):
        began = time.perf_counter_ns()
        job()
        took.append((time.perf_counter_ns() - began) / 1_000)
    return statistics.median(took)


def warmed(seconds: float) -> Iterator[int]:
    """Numbers, until the time is up."""
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        yield number
        number += 1


def features() -> dict[str, Any]:
    """The benchmark's customer: right in the middle of everything."""
    return {f"feature_{number}": 0.5 for number in range(FEATURES)}


def history() -> tuple[Contact, ...]:
    """What the customer has seen lately."""
    ages = (2, 30, 100)
    return tuple(
        Contact(
            decision_id=f"earlier{age}",
            slot=0,
            action=f"action_{age}",
            group="group_1",
            channel="web",
            decided_at=NOW - timedelta(hours=age),
            expires_at=NOW - timedelta(hours=age - 1),
            impressed_at=NOW - timedelta(hours=age),
        )
        for age in ages
    )


def policy_of(actions: int, rules: int) -> dict[str, Any]:
    """A policy of so many actions and distinct rules; nine of ten rules hold for the benchmark's customer."""
    chance = random.Random(7)  # noqa: S311  the same policy every time
    sources = [
        f"feature_{chance.randrange(FEATURES)} {'>' if number % 10 else '<'} 0.{number:04d}1"
        f" && feature_{chance.randrange(FEATURES)} < {1 + number}.5"
        for number in range(rules)
    ]
    per_action = max(1, rules // actions)
    return {
        "actions": {
            "currency": "USD",
            "actions": [
                {
                    "id": f"action_{number}",
                    "name": f"Action {number}",
                    "group": f"group_{number % 10}",
                    "objective": "sales",
                    "purpose": "marketing",
                    "value": 1.0 + number % 17,
                    "cost": 0.01,
                    "start": "2026-01-01",
                    "end": "2026-12-31",
                    ("eligibility", "applicability", "suitability")[number % 3]: [
                        sources[(number * per_action + i) % rules] for i in range(per_action)
                    ],
                    "treatments": [
                        {"id": "t", "placement": "home", "channel": "web", "content": {"title": f"Action {number}"}}
                    ],
                }
                | ({"volume": {"limit": 1_000_000, "per": "day"}} if number % 10 == 0 else {})
                for number in range(actions)
            ],
        },
        "placements": {
            "channels": [{"id": "web", "cost": 0.001, "quiet_hours": {"start": "22:00", "end": "06:00"}}],
            "placements": [
                {
                    "id": "home",
                    "channel": "web",
                    "slots": 1,
                    "fallback": {"treatment": "brand", "content": {"title": "Hello"}},
                }
            ],
        },
        "contact_policy": {
            "purposes": [{"id": "marketing", "regime": "opt_in"}],
            "rules": [
                {"id": "action_cap", "scope": "action", "count": "impression", "limit": 3, "window_hours": 168},
                {"id": "group_cap", "scope": "group", "count": "impression", "limit": 6, "window_hours": 336},
                {"id": "all_cap", "scope": "all", "count": "decision", "limit": 50, "window_hours": 720},
            ],
            "suppressions": [
                {"id": "dismissed", "scope": "action", "outcome": "dismissal", "count": 1, "pause_days": 30}
            ],
        },
        "arbitration": {
            "exploration": {"strategy": "inverse_gap", "gamma": 500.0, "floor": 0.0001},
            "salt": "benchmark",
        },
        "features": {
            "features": [{"name": f"feature_{number}", "description": "a number"} for number in range(FEATURES)]
        },
        "experiments": {"control": {"percent": 0.0001}},
    }


if __name__ == "__main__":
    main(prog_name="nextbest bench engine")
