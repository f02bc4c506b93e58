"""Online learning with a known truth: the residual beside the batch model alone, a Beta per action, and daily refits.

Belongs here: the simulated market, what learns from it, and how far from the truth each is. Does not belong here: the
residual (`nextbest.residual`) or its sums (`nextbest.evidence`), which are called as serving calls them.

A batch model learned from a market in which log odds are linear in three numbers of the customer, by action. Since then
the market has moved, half at once and half bit by bit, in what actions come to and for whom; and there is an action
that the model does not know. Actions are shown at random, so that all learn from the same answers. The Beta is the
bandit of every introduction: Beta(1, 1) and the action's own answers, whoever gives them. The refit is logistic
regression on all rows there are, those of the batch model and those since, with every number of every action. Systems
are asked about new customers, and held to the truth of that moment: log loss, and regret, which is how much less likely
a yes is to what they find likeliest than to the best there is. Intervals are over markets.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from benchmarks.truths.rows import Role, Row
from models.arrays import Array
from models.evaluation import bootstrap, mean
from nextbest.delays import SETTLED, Scale, delays
from nextbest.evidence import Sums, statistics
from nextbest.policy import Policy
from nextbest.policy_compiler import compile_policy
from nextbest.policy_document import PolicyDocument
from nextbest.residual import Posteriors, numbers
from nextbest.rewards import Contact, Trial

MARKETS = 24
ANSWERS = (200, 1_000, 4_000, 12_000)
KNOWN = 7
ACTIONS = KNOWN + 1
NUMBERS = ("spend", "visits", "age")
HISTORY = 6_000
JUDGED = 1_000
"""Customers that each system is asked about."""
START = 0.1
"""The propensity that the policy gives the new action."""
SYSTEMS: Mapping[str, Role] = {
    "nextbest": "nextbest",
    "batch model alone": "baseline",
    "Beta per action": "peer",
    "LogisticRegression refitted on all rows": "peer",
    "truth": "truth",
}

_OURS, _BATCH, _BETA, _REFIT, _TRUTH = SYSTEMS
_DELAY = timedelta(days=1)

Codes = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """Log odds by action, shape (actions, 1 + numbers): before, and how far they move in all."""

    before: Array
    move: Array

    @classmethod
    def of(cls, random: np.random.Generator) -> "Market":
        """One by chance."""
        shape = (ACTIONS, 1 + len(NUMBERS))
        before = random.normal(0.0, 0.4, shape)
        before[:, 0] += logit(START)
        return cls(before=before, move=random.normal(0.0, 0.4, shape) * np.array([2.0, 1.0, 1.0, 1.0]))

    def truth(self, x: Array, moved: Array | float) -> Array:
        """P(yes) of customers with the numbers `x` to each action, shape (rows, actions), so far into the move."""
        return np.asarray(expit(x @ self.before.T + np.asarray(moved)[..., None] * (x @ self.move.T)))


@dataclass(frozen=True, slots=True)
class Log:
    """Contacts: the customer's numbers, the action that was shown, and whether the answer was yes."""

    x: Array
    action: Codes
    says_yes: NDArray[np.bool_]

    def first(self, count: int) -> "Log":
        """The earliest so many of them."""
        return Log(self.x[:count], self.action[:count], self.says_yes[:count])

    def after(self, other: "Log") -> "Log":
        """Both, the other one first."""
        return Log(
            np.concatenate([other.x, self.x]),
            np.concatenate([other.action, self.action]),
            np.concatenate([other.says_yes, self.says_yes]),
        )


def shown(market: Market, random: np.random.Generator, actions: int, moved: Array) -> Log:
    """A contact per number of `moved`, with one of the first so many actions."""
    x, action = customers(random, len(moved)), random.integers(0, actions, len(moved))
    p = market.truth(x, moved)[np.arange(len(moved)), action]
    return Log(x, action, random.random(len(moved)) < p)


def customers(random: np.random.Generator, count: int) -> Array:
    """The numbers of customers, as the residual takes them: 1, and the others bounded."""
    told = random.normal(0.0, 1.0, (count, len(NUMBERS)))
    learning = policy().arbitration.learning
    return np.array([numbers(learning, dict(zip(NUMBERS, row, strict=True))) for row in told.tolist()])


class Linear:
    """Logistic regression with a weight for every number of every action: the batch model, and the refit."""

    def __init__(self, log: Log) -> None:
        self._model = LogisticRegression(max_iter=500)
        self._model.fit(_crossed(log.x, log.action), log.says_yes)

    def predict(self, x: Array) -> Array:
        """P(yes) to each action, shape (rows, actions)."""
        columns = [_crossed(x, np.full(len(x), action)) for action in range(ACTIONS)]
        return np.column_stack([self._model.predict_proba(each)[:, 1] for each in columns])


def _crossed(x: Array, action: Codes) -> Array:
    wide = np.zeros((len(x), ACTIONS, x.shape[1]))
    wide[np.arange(len(x)), action] = x
    return wide.reshape(len(x), -1)


class Residual:
    """The batch model, corrected as serving corrects it."""

    def __init__(self, batch: Array) -> None:
        """Take what the batch model says, shape (customers asked about, actions)."""
        self._batch = batch
        self._sums: dict[str, dict[str, Sums]] = {}

    def add(self, log: Log, predicted: Array) -> None:
        """Take in contacts, and what the batch model made of each."""
        roll, none = policy().roll, Sums.nothing(log.x.shape[1])
        rows = zip(log.x.tolist(), log.action.tolist(), log.says_yes.tolist(), predicted.tolist(), strict=True)
        for x, number, says_yes, p in rows:
            trial = Trial(slot=0, action=roll[number].id, x=tuple(x), p=p)
            contact = Contact(trial, 0, *((1.0, ((0, 1.0),)) if says_yes else (None, ())))
            table = self._sums.setdefault(trial.action, {SETTLED: none})
            table[SETTLED] = table[SETTLED].plus(Sums.of(contact, default=0.0))

    def predict(self, x: Array) -> Array:
        """P(yes) to each action, shape (rows, actions)."""
        rules, known = policy(), delays({}, Scale.of(_DELAY), now=0)
        told = {action: statistics(table, known, now=0, default=0.0) for action, table in self._sums.items()}
        learned = {action: each for action, each in told.items() if each}
        names = [action.id for action in rules.roll[:KNOWN]]
        believed = Posteriors(rules.roll, names, rules.arbitration.prior_sd, x.shape[1], learned)
        return np.asarray(expit(logit(self._batch) + np.array([believed.of(rules.roll, row)[0] for row in x])))


def measure(seed: int) -> list[Row]:
    """Every system in every market, after so many answers."""
    found = [_measured(np.random.default_rng([seed, number])) for number in range(MARKETS)]
    losses, regrets, seconds = (np.array(each) for each in zip(*found, strict=True))
    markets = np.arange(MARKETS).astype(str)
    spent = dict(zip(SYSTEMS, seconds.mean(axis=0).tolist(), strict=True))
    rows = []
    for measured, values in (("log loss", losses), ("regret", regrets)):
        for at, answers in enumerate(ANSWERS):
            by_system = dict(zip(SYSTEMS, values[:, at].T, strict=True))
            asked = {(name, f"{measured} after {answers:,} answers"): each for name, each in by_system.items()}
            asked |= {
                (_OURS, f"{measured} less that of {name} after {answers:,} answers"): by_system[_OURS] - each
                for name, each in by_system.items()
                if name != _OURS
            }
            intervals = bootstrap(markets, *map(mean, asked.values()))
            rows += [
                Row(
                    model="online residual",
                    data="simulated, drifting",
                    system=name,
                    role=SYSTEMS[name],
                    measure=what,
                    value=interval.estimate,
                    low=interval.low,
                    high=interval.high,
                    is_better="lower",
                    seconds=None if name == _TRUTH else spent[name],
                )
                for (name, what), interval in zip(asked, intervals, strict=True)
            ]
    return rows


def _measured(random: np.random.Generator) -> tuple[Array, Array, Array]:
    """Log loss and regret in one market by answers and system, and the last update's seconds by system."""
    market = Market.of(random)
    history = shown(market, random, KNOWN, np.zeros(HISTORY))
    batch = Linear(history)
    progress = np.linspace(0.5, 1.0, ANSWERS[-1])
    log = shown(market, random, ACTIONS, progress)
    x = customers(random, JUDGED)
    expected = _alone(batch, log.x)[np.arange(len(log.action)), log.action]
    residual = Residual(_alone(batch, x))
    losses, regrets = np.empty((2, len(ANSWERS), len(SYSTEMS)))
    seconds = np.zeros(len(SYSTEMS))
    for at, (begin, end) in enumerate(zip((0, *ANSWERS), ANSWERS, strict=False)):
        truth = market.truth(x, float(progress[end - 1]))
        now = log.first(end)
        new = slice(begin, end)
        residual.add(Log(log.x[new], log.action[new], log.says_yes[new]), expected[new])
        systems: dict[str, Callable[[], Array]] = {
            _OURS: partial(residual.predict, x),
            _BATCH: partial(_alone, batch, x),
            _BETA: partial(_beta, now),
            _REFIT: partial(_refitted, now.after(history), x),
            _TRUTH: truth.copy,
        }
        for number, name in enumerate(SYSTEMS):
            began = time.perf_counter()
            p = np.broadcast_to(systems[name](), truth.shape)
            seconds[number] = time.perf_counter() - began
            losses[at, number] = -(truth * np.log(p) + (1.0 - truth) * np.log1p(-p)).mean()
            taken = truth[np.arange(len(x)), p.argmax(axis=1)]
            regrets[at, number] = (truth.max(axis=1) - taken).mean()
    return losses, regrets, seconds


def _alone(batch: Linear, x: Array) -> Array:
    """What the batch model says, and of the action it does not know what the policy says, shape (rows, actions)."""
    return np.column_stack([batch.predict(x)[:, :KNOWN], np.full(len(x), START)])


def _refitted(log: Log, x: Array) -> Array:
    return Linear(log).predict(x)


def _beta(log: Log) -> Array:
    """The mean of each action's Beta, shape (actions,)."""
    yes, all_ = (np.bincount(log.action, weights, ACTIONS) for weights in (log.says_yes, None))
    return np.asarray((1.0 + yes) / (2.0 + all_))


@cache
def policy() -> Policy:
    """The smallest there is with these actions; what it does not say is as it is by default."""
    shown_at = {"placement": "home", "channel": "web", "content": {"headline": "Hi"}}
    actions = [
        {
            "id": f"action_{number}",
            "name": "Action",
            "group": "all",
            "objective": "yes",
            "purpose": "marketing",
            "value": 1,
        }
        | {"treatments": [{"id": f"action_{number}_home"} | shown_at]}
        | ({"starting": {"propensity": START}} if number >= KNOWN else {})
        for number in range(ACTIONS)
    ]
    learning = {"features": [{"name": name, "scale": 1.0} for name in NUMBERS]}
    home = {"id": "home", "channel": "web", "fallback": {"treatment": "brand", "content": {"headline": "Hi"}}}
    document = {
        "actions": {"currency": "USD", "actions": actions},
        "placements": {"channels": [{"id": "web"}], "placements": [home]},
        "contact_policy": {"purposes": [{"id": "marketing", "regime": "opt_in"}]},
        "arbitration": {"exploration": {"strategy": "greedy"}, "salt": "benchmark", "learning": learning},
        "features": {"features": [{"name": name, "description": "a number"} for name in NUMBERS]},
    }
    return compile_policy(PolicyDocument.model_validate(document))
