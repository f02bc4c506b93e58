"""What the benchmark of response calls the truth is what its customers do."""

import numpy as np
import pytest

from benchmarks.truths.response import LABELS, PRICES, simulate


def test_the_truth_is_what_happens_and_falls_with_the_price() -> None:
    """In every tenth of the rows as many say yes as the truth says, and at no price more than at a lower one."""
    market, frame = simulate(1)
    for label, channels in LABELS.items():
        known = frame[frame["channel"].isin(channels)]
        assert frame[label].notna().equals(frame["channel"].isin(channels))
        truth, outcome = market.probability(known, label), known[label].to_numpy(np.float64)
        for rows in np.array_split(np.argsort(truth), 10):
            # Answers of one customer have something in common: a fifth more than the error of independent ones.
            error = 1.2 * np.sqrt((truth[rows] * (1.0 - truth[rows])).mean() / len(rows))
            assert outcome[rows].mean() == pytest.approx(truth[rows].mean(), abs=3.5 * error)
        priced = [market.probability(known[:500].assign(price=price), label) for price in PRICES]
        assert (np.diff(priced, axis=0) <= 0.0).all()
