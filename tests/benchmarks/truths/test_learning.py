"""What learns in the benchmark of learning learns as serving does, from the answers it is given and no others."""

import numpy as np
from scipy.special import expit, logit

from benchmarks.truths.learning import ACTIONS, START, Log, Market, Residual, customers, shown


def test_the_residual_knows_nothing_before_answers_and_the_truth_after_many() -> None:
    """A new action and a moved market, from the policy's start to within a hundredth."""
    random = np.random.default_rng(2)
    market = Market.of(random)
    x = customers(random, 200)
    start = np.full((200, ACTIONS), START)
    residual = Residual(start)
    assert np.allclose(residual.predict(x), start)
    log = shown(market, random, ACTIONS, np.ones(40_000))
    residual.add(log, np.full(len(log.action), START))
    before, after = (np.abs(p - market.truth(x, 1.0)).mean() for p in (start, residual.predict(x)))
    assert after < before / 3


def test_answers_can_come_in_parts() -> None:
    """Sums commute: in two halves, or the other half first, is the same to the bit."""
    random = np.random.default_rng(3)
    log = shown(Market.of(random), random, ACTIONS, np.ones(400))
    x = customers(random, 5)
    p = expit(logit(START) + log.x[:, 1])
    halves = [slice(0, 200), slice(200, 400)]
    found = []
    for parts in ([slice(0, 400)], halves, halves[::-1]):
        residual = Residual(np.full((5, ACTIONS), START))
        for part in parts:
            residual.add(Log(log.x[part], log.action[part], log.says_yes[part]), p[part])
        found.append(residual.predict(x))
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
