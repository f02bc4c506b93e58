"""What a decision with everything on comes to, once more: mandatory slots, true weights, a replay to the bit."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from nextbest.decision import settle
from nextbest.records import Options, Usage
from nextbest.replay import replay
from nextbest.reservations import reserve
from nextbest.situation import Models

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def test_mandatory_comes_first(trial: Any) -> None:
    """A mandatory action is shown before all that is drawn, for certain; the second slot is drawn as ever."""
    policy = trial.policy(**{"class": "mandatory", "value": 0.0, "purpose": None})
    for number in range(30):
        (placement,) = trial.finished(trial.proposed(policy, decision_id=f"d{number}")).placements
        first, *rest = placement.slots
        assert (first.action, first.probability, placement.ahead) == ("apples", 1.0, 1)
        assert sum(placement.pmf.values()) == pytest.approx(1.0)
        assert "apples/apples_home" not in placement.pmf
        assert all(slot.probability < 1.0 for slot in rest)


@pytest.mark.parametrize("tier", ["full", "reduced"])
@pytest.mark.parametrize(
    "exploration",
    [
        {"strategy": "greedy"},
        {"strategy": "epsilon", "epsilon": 0.1},
        {"strategy": "inverse_gap", "floor": 0.01},
        {"strategy": "thompson", "floor": 0.01},
    ],
    ids=lambda exploration: exploration["strategy"],
)
def test_replay_is_bit_exact_with_everything_on(
    document: dict[str, Any], models: Models, trial: Any, *, exploration: dict[str, Any], tier: str
) -> None:
    """Whatever the policy uses, deciding again from the record gives the identical record."""
    document["arbitration"] |= {
        "exploration": exploration,
        "ramp": {"initial_percent": 50, "evidence": 200},
    }
    document["experiments"] = {
        "control": {"percent": 10},
        "challengers": [{"id": "bold", "percent": 50, "changes": {"levers": {"bread": 300}}}],
        "rollouts": [{"id": "slowly", "percent": 50, "actions": ["cheese"]}],
        "shadows": [{"id": "other", "changes": {"exploration": {"strategy": "greedy"}}}],
    }
    document["contact_policy"]["suppressions"] = [
        {"id": "leave_me", "scope": "group", "outcome": "dismissal", "pause_days": 4}
    ]
    policy = trial.policy(
        starting={"propensity": 0.2}, volume={"limit": 5, "per": "day"}, budget={"amount": 9, "per": "week"}
    )
    known: dict[str, Any] = {
        "contacts": (trial.contact("bread", 2), trial.contact("cheese", 1, seen=False)),
        "interactions": (trial.did("click", 1, "bread"), trial.did("dismissal", 3, "cheese")),
        "usage": {"apples/volume@2026-03-04": Usage(2, 1)},
        "pauses": ("dates",),
    }
    stages = set()
    for number in range(40):
        ids: dict[str, Any] = {"customer_id": f"c{number}", "decision_id": f"d{number}"}
        proposal = trial.proposed(policy, placements=("mail", "home"), tier=tier, **ids, **known)
        record = trial.finished(proposal)
        stages |= {c.stage for c in record.candidates}
        assert replay(record, policy, models) == record
    assert {"experiment", "pause", "contact_policy", "reach", "arbitration"} <= stages


def test_weighting_is_unbiased_with_limits_and_control(document: dict[str, Any], trial: Any) -> None:
    """With a volume that runs out half of the time, bread, always to be had, counts as once per decision."""
    document["arbitration"]["exploration"] = {"strategy": "inverse_gap", "gamma": 2.0, "floor": 0.02}
    policy = trial.policy(volume={"limit": 1, "per": "day"})
    weights = []
    for number in range(3_000):
        proposal = trial.proposed(policy, decision_id=f"d{number}", options=Options(limit=1))
        usage = {"apples/volume@2026-03-04": Usage(number % 2, 0)}
        slot = settle(proposal, reserve(proposal, (), NOW, usage)[0]).placements[0].slots[0]
        weights.append(1.0 / slot.probability if slot.action == "bread" else 0.0)
    assert np.mean(weights) == pytest.approx(1.0, abs=4 * np.std(weights) / len(weights) ** 0.5)
