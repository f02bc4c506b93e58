"""Recipes for Febrl with recordlinkage (0.16): those of its own guides and examples, and the best we could make of it.

Belongs here: which pairs each recipe links. Does not belong here: measuring them, or our own linkage.

None but the one that says so looks at the truth. The comparisons of its examples are its authors', soc_sec_id among the
blocks; the strongest recipe has the columns that ours has.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import recordlinkage as rl
from recordlinkage.compare import Exact, String
from recordlinkage.index import Block, SortedNeighbourhood

Links = Any
"""Pairs of names of records, as pandas has them: a MultiIndex."""
Frames = Sequence[pd.DataFrame]
"""One frame to find duplicates in, or two to link."""

_SIMILAR = 0.85
# Weights that its authors give for Febrl in their example of deterministic linkage.
_COEFFICIENTS, _INTERCEPT = (2.0, 3.0, 7.0, 6.0, 2.5, 5.0, 5.5), -9.5
_AGREE_ON = 3
_WINDOW = 9


def guide(frames: Frames, _: Links) -> Links:
    """Its guide: who has the same given name, and agrees on more than three columns of six."""
    agreed = _compared(_pairs(frames, [Block("given_name")]), frames, _own()[:6])
    return agreed[agreed.sum(axis=1) > _AGREE_ON].index


def given_weights(frames: Frames, _: Links) -> Links:
    """Its example of deterministic linkage, with the weights that its authors give."""
    agreed = _compared(_pairs(frames, _own_blocks()), frames, _own())
    return rl.LogisticRegressionClassifier(list(_COEFFICIENTS), _INTERCEPT).predict(agreed)


def own_ecm(frames: Frames, _: Links) -> Links:
    """The pairs and comparisons of its examples, and its unsupervised classifier (ECM)."""
    return rl.ECMClassifier().fit_predict(_compared(_pairs(frames, _own_blocks()), frames, _own()))


def strongest(frames: Frames, _: Links) -> Links:
    """Sorted neighbourhoods of both names and three more blocks, Jaro-Winkler on every column, ECM."""
    return rl.ECMClassifier().fit_predict(_compared(_pairs(frames, _wide_blocks()), frames, _similar()))


def supervised(frames: Frames, truth: Links) -> Links:
    """The same pairs and comparisons, and logistic regression that is told the truth of the other half of people."""
    agreed = _compared(_pairs(frames, _wide_blocks()), frames, _similar())
    halves = np.column_stack([agreed.index.get_level_values(level).map(person) % 2 for level in (0, 1)])
    linked: list[Any] = []
    for half in (0, 1):
        seen, unseen = agreed[(halves != half).all(axis=1)], agreed[halves[:, 0] == half]
        classifier = rl.LogisticRegressionClassifier()
        classifier.fit(seen, seen.index.intersection(truth))
        linked.extend(classifier.predict(unseen))
    return pd.MultiIndex.from_tuples(linked)


Recipe = Callable[[Frames, Links], Links]
"""Links records of frames; what it is told of the truth is for the one that is supervised."""
RECIPES: dict[str, Recipe] = {
    "its guide": guide,
    "its example, weights given": given_weights,
    "its example, ECM": own_ecm,
    "strongest, ECM": strongest,
    "strongest, supervised": supervised,
}


def person(record: str) -> int:
    """The number of the person in a record's name: `rec-12-dup-0` is one of person 12."""
    return int(record.split("-")[1])


def _pairs(frames: Frames, blocks: Sequence[Any]) -> Links:
    index = rl.Index()
    for block in blocks:
        index.add(block)
    return index.index(*frames)


def _compared(pairs: Links, frames: Frames, comparisons: Sequence[Any]) -> pd.DataFrame:
    compare = rl.Compare()
    for comparison in comparisons:
        compare.add(comparison)
    compared: pd.DataFrame = compare.compute(pairs, *frames)
    return compared


def _own_blocks() -> list[Any]:
    return [Block(name) for name in ("given_name", "surname", "soc_sec_id")]


def _own() -> list[Any]:
    return [
        Exact("given_name", "given_name"),
        String("surname", "surname", method="jarowinkler", threshold=_SIMILAR),
        Exact("date_of_birth", "date_of_birth"),
        Exact("suburb", "suburb"),
        Exact("state", "state"),
        String("address_1", "address_1", threshold=_SIMILAR),
        String("address_2", "address_2", threshold=_SIMILAR),
    ]


def _wide_blocks() -> list[Any]:
    near = [SortedNeighbourhood(name, window=_WINDOW) for name in ("given_name", "surname")]
    return [*near, *(Block(name) for name in ("date_of_birth", "address_1", "postcode"))]


def _similar() -> list[Any]:
    names = ("given_name", "surname", "suburb", "address_1", "date_of_birth", "postcode", "street_number")
    return [*(String(n, n, method="jarowinkler", threshold=_SIMILAR) for n in names), Exact("state", "state")]
