"""Model cards: what a person should know before trusting a model, as Markdown beside each version.

Belongs here: the card's form. Does not belong here: computing the numbers in it, or the words of one model, which its
recipe has.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from models.evaluation import CONFIDENCE, RESAMPLES, Interval
from models.gates import GroupFairness, Thresholds

_CARD = """\
# {title}

{what}

## Data

{spans}
- contracts: {contracts}

{rows}

## Labels

{labels}

## Measured

{measured} Intervals: {confidence:.0%}, {resamples:,} bootstrap resamples of customers.

{metrics}

{gains}

## By segment

{segments}

## Fairness

{fairness}

## Asked of it

{thresholds}

## Limits

{limits}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What a recipe says of its model: sentences of Markdown. `time` is the column that its rows are told apart by."""

    title: str
    what: str
    rows: str
    labels: str
    measured: str
    unit: str
    time: str
    limits: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a card is filled with; `segments` has `segment`, `rows`, `expected` and `happened`."""

    train: pd.DataFrame
    test: pd.DataFrame
    contracts: Mapping[str, str]
    metrics: Mapping[str, float]
    gains: Mapping[str, Interval]
    segments: pd.DataFrame
    fairness: Sequence[GroupFairness]
    thresholds: Thresholds


def card(words: Words, facts: Facts) -> str:
    """The card of a version."""
    spans = [
        f"- {name}: {len(rows):,} rows, {rows['customer_id'].nunique():,} customers, "
        f"{rows[words.time].min():%Y-%m-%d} to {rows[words.time].max():%Y-%m-%d}"
        for name, rows in (("training", facts.train), ("test", facts.test))
    ]
    return _CARD.format(
        title=words.title,
        what=words.what,
        spans="\n".join(spans),
        contracts=", ".join(f"{name} {version}" for name, version in sorted(facts.contracts.items())),
        rows=words.rows,
        labels=words.labels,
        measured=words.measured,
        confidence=CONFIDENCE,
        resamples=RESAMPLES,
        metrics=_table(("metric", "value"), [(name, f"{value:.6g}") for name, value in facts.metrics.items()]),
        gains=_table(("gain over", words.unit), [(name, str(gain)) for name, gain in facts.gains.items()]),
        segments=_table(
            ("segment", "rows", "expected", "happened"),
            [
                (str(name), f"{rows:,}", f"{expected:.4g}", f"{happened:.4g}")
                for name, rows, expected, happened in facts.segments.itertuples(index=False)
            ],
        ),
        fairness=_fairness(facts.fairness, facts.thresholds),
        thresholds="\n".join(f"- {demand}" for demand in _demands(facts.thresholds)),
        limits=words.limits,
    )


def _fairness(groups: Sequence[GroupFairness], thresholds: Thresholds) -> str:
    if thresholds.fairness is None:
        return (
            "Not measured: the contract of customers protects no group, or what the model says does nobody good or ill."
        )
    if not groups:
        return "Of no protected field are there two groups of enough customers to compare."
    head = "protected group", "rows", "selected", "of the most favoured", "expected", "happened", "off by"
    said = [
        (
            f"{each.field} {each.group}",
            f"{each.rows:,}",
            f"{each.selection_rate:.3f}",
            str(each.ratio),
            f"{each.expected:.4g}",
            f"{each.happened:.4g}",
            str(each.calibration),
        )
        for each in groups
    ]
    return f"Selected are the {thresholds.fairness.selected_share:.0%} that score highest.\n\n{_table(head, said)}"


def _demands(thresholds: Thresholds) -> Iterable[str]:
    yield "better than each baseline: lower bound of the gain above 0"
    margin = f"{-thresholds.champion_margin:g}"
    yield f"not worse than the champion, on data after both trainings: lower bound of the gain at least {margin}"
    yield from (f"{name} at most {limit:g}" for name, limit in thresholds.calibration.items())
    yield f"ONNX file and model differ by at most {thresholds.parity:g}"
    yield f"a hundred rows are scored in at most {thresholds.latency_ms:g} ms"
    yield "every feature was known at its label's time"
    if fair := thresholds.fairness:
        ratio, error = f"{fair.selection_rate_ratio:g}", f"{fair.calibration_error:g}"
        yield f"no evidence that a protected group is selected less than {ratio} times as often as the most favoured"
        yield f"no evidence that what is expected of a protected group is off by more than {error}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])
