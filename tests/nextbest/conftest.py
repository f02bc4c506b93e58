"""A small policy and stand-in models for the tests of the engine."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from nextbest.decision import decide, settle
from nextbest.features import Matrix
from nextbest.messages import Profile, Proposal, Request
from nextbest.model_set import FeatureSpec, Model, ModelSet, model_set
from nextbest.policy import Policy
from nextbest.policy_check import check
from nextbest.policy_compiler import compile_policy
from nextbest.policy_document import PolicyDocument
from nextbest.records import Contact, DecisionRecord, Interaction, Options, Snapshot, Tier
from nextbest.reservations import reserve
from nextbest.residual import Beliefs, Statistics
from nextbest.situation import Models


def _action(name: str, value: float, **other: Any) -> dict[str, Any]:
    treatments = [
        {"id": f"{name}_home", "placement": "home", "channel": "web", "content": {"headline": name}},
        {"id": f"{name}_mail", "placement": "mail", "channel": "email", "content": {"subject": name}},
    ]
    return {
        "id": name,
        "name": name.title(),
        "group": "food",
        "objective": "redemption",
        "purpose": "marketing",
        "value": value,
        "treatments": treatments,
    } | other


DOCUMENT: dict[str, Any] = {
    "actions": {
        "currency": "USD",
        "actions": [
            _action("apples", 10.0, cost=0.1),
            _action("bread", 8.0, attributes={"campaign_type": "Type A"}),
            _action("cheese", 6.0, lever=150.0, group="dairy", eligibility=["spend_91d > 0.0"]),
            _action("dates", 4.0, suitability=["visits >= 1.0 && weather != 'storm'"]),
        ],
    },
    "placements": {
        "channels": [{"id": "web"}, {"id": "email", "cost": 0.05, "purpose": "mailing"}],
        "placements": [
            {
                "id": "home",
                "channel": "web",
                "slots": 2,
                "fallback": {"treatment": "brand", "content": {"headline": "Hi"}},
            },
            {"id": "mail", "channel": "email", "fallback": {"treatment": "brand", "content": {"subject": "Hi"}}},
        ],
    },
    "contact_policy": {
        "purposes": [{"id": "marketing", "regime": "opt_in"}, {"id": "mailing", "regime": "opt_out"}],
        "rules": [
            {
                "id": "one_mail",
                "scope": "channel",
                "only": ["email"],
                "count": "decision",
                "limit": 1,
                "window_hours": 24,
            },
            {"id": "same_twice", "scope": "action", "count": "impression", "limit": 2, "window_hours": 168},
        ],
    },
    "arbitration": {"exploration": {"strategy": "epsilon", "epsilon": 0.2}, "salt": "test"},
    "features": {
        "features": [
            {"name": "spend_91d", "description": "USD"},
            {"name": "visits", "default": 1.0, "description": "visits"},
            {"name": "weather", "kind": "text", "origin": "context", "description": "outside"},
        ]
    },
}


CONTENTS: dict[str, Any] = {
    "actions": {
        "currency": "USD",
        "actions": [
            {
                "id": name,
                "name": name,
                "group": "food",
                "objective": "redemption",
                "purpose": "marketing",
                "value": "spend * 0.1",
                "start": "2026-01-01",
                "volume": {"limit": 5, "per": "day"},
                "stock": {"key": "shelf", "at_least": 2},
                "eligibility": ["spend > 1.0"],
                "follows": [{"action": "bread", "within_hours": 24}],
                "treatments": [{"id": "home", "placement": "home", "channel": "web", "content": {"text": "Hi"}}],
                "attributes": {"colour": "red"},
            }
            for name in ("apples", "bread")
        ],
    },
    "placements": {
        "channels": [{"id": "web", "quiet_hours": {"start": "21:00", "end": "08:00"}}],
        "placements": [{"id": "home", "channel": "web", "fallback": {"treatment": "brand", "content": {"text": "Hi"}}}],
    },
    "contact_policy": {
        "purposes": [{"id": "marketing", "regime": "opt_in"}],
        "rules": [{"id": "two", "scope": "action", "only": ["bread"], "count": "click", "limit": 2, "window_hours": 9}],
        "suppressions": [{"id": "no", "scope": "group", "outcome": "click", "pause_days": 7}],
    },
    "arbitration": {"exploration": {"strategy": "greedy"}, "formula": "value", "salt": "x"},
    "features": {
        "features": [
            {"name": "spend", "description": "USD"},
            {"name": "heat", "origin": "signal", "signal": "temperature", "key": "here", "description": "Celsius"},
        ]
    },
    "experiments": {
        "challengers": [{"id": "bold", "percent": 5, "changes": {"levers": {"bread": 200}}}],
        "rollouts": [{"id": "slow", "percent": 5, "actions": ["bread"]}],
    },
}
"""A policy with one of nearly everything a file can hold."""


class StandInModels:
    """Models whose propensity is 1 % for every action, or what the test says."""

    def __init__(self) -> None:
        features = (FeatureSpec("spend_91d", "customer"), FeatureSpec("campaign_type_a", "context"))
        propensity = Model(
            name="propensity",
            version="1",
            run_id="run",
            file="propensity.onnx",
            sha256="0" * 64,
            features=features,
            output="probability",
        )
        self.model_set: ModelSet = model_set([propensity], datetime(2026, 1, 1, tzinfo=UTC))
        self.answer: Callable[[Matrix], NDArray[np.float64]] = lambda matrix: np.full(len(matrix), 0.1)
        self.beside: Callable[[Matrix], NDArray[np.float64]] = lambda matrix: np.full(len(matrix), 0.3)
        self.raised: Callable[[Matrix], NDArray[np.float64]] = lambda matrix: np.full(len(matrix), 0.05)
        self.seen: list[Matrix] = []

    def score(self, name: str, matrix: Matrix) -> NDArray[np.float64]:
        if name == "uplift":
            return self.raised(matrix)
        assert name == "propensity"
        self.seen.append(matrix)
        return self.answer(matrix)

    def feed(self, *features: FeatureSpec) -> None:
        """Have the propensity model take other features."""
        propensity = msgspec.structs.replace(self.model_set.models["propensity"], features=features)
        self.model_set = model_set([propensity], self.model_set.created_at)

    def cause(self, *actions: str) -> None:
        """Have a model of uplift that knows these actions, of which the test says what it answers."""
        propensity = self.model_set.models["propensity"]
        uplift = msgspec.structs.replace(
            propensity, name="uplift", sha256="1" * 64, output="value", action_features={each: {} for each in actions}
        )
        self.model_set = model_set([propensity, uplift], self.model_set.created_at)

    def shadow(self) -> None:
        """Have a model beside, of which the test says what it answers; it takes a column less."""
        [propensity] = self.model_set.models.values()
        beside = msgspec.structs.replace(propensity, version="2", features=propensity.features[:1])
        self.model_set = model_set([propensity], datetime(2026, 1, 1, tzinfo=UTC), shadows=[beside])

    def score_beside(self, name: str, matrix: Matrix) -> NDArray[np.float64]:
        assert name in self.model_set.shadows
        return self.beside(matrix)


@pytest.fixture
def document() -> dict[str, Any]:
    """The policy as its files would say it, free to edit."""
    return deepcopy(DOCUMENT)


@pytest.fixture
def policy(document: dict[str, Any]) -> Policy:
    parsed = PolicyDocument.model_validate(document)
    assert check(parsed) == []
    return compile_policy(parsed)


@pytest.fixture
def models() -> StandInModels:
    return StandInModels()


@pytest.fixture(scope="session")
def contents() -> Callable[[], dict[str, Any]]:
    """Makes a policy with one of nearly everything, free to edit."""
    return lambda: deepcopy(CONTENTS)


NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
HOUR = timedelta(hours=1)
CUSTOMER = Profile(features={"spend_91d": 50.0, "visits": 2.0})


class Trial:
    """Decisions for a consenting customer, by the policy as a test has edited it, without State."""

    def __init__(self, document: dict[str, Any], models: Models) -> None:
        self._document = document
        self._models = models

    def policy(self, **fields: Any) -> Policy:
        """The policy, in which apples have these fields; no check finds anything wrong with it."""
        apples = next(each for each in self._document["actions"]["actions"] if each["id"] == "apples")
        apples.update(fields)
        parsed = PolicyDocument.model_validate(self._document)
        assert [problem.message for problem in check(parsed)] == []
        return compile_policy(parsed)

    def proposed(
        self,
        policy: Policy,
        *,
        placements: tuple[str, ...] = ("home",),
        now: datetime = NOW,
        customer_id: str = "c1",
        decision_id: str = "d1",
        options: Options = Options(),  # noqa: B008  frozen
        context: dict[str, Any] | None = None,
        tier: Tier = "full",
        profile: Profile = CUSTOMER,
        learned: Mapping[str, Statistics] | None = None,
        **known: Any,
    ) -> Proposal:
        """What is proposed to a customer of whom State knows `known`, after answers that say `learned`."""
        request = Request(
            decision_id=decision_id,
            request_id="r1",
            customer_id=customer_id,
            placements=placements,
            context=context or {},
            options=options,
        )
        snapshot = Snapshot(**({"consents": {"marketing": "granted"}} | known))
        beliefs = Beliefs(policy)
        beliefs.learn(self._models, learned or {})
        residuals = beliefs.of(self._models)
        return decide(request, profile, policy, self._models, snapshot, now, residuals=residuals, tier=tier)

    def contact(self, action: str, hours_ago: float, *, seen: bool = True, decision_id: str = "earlier") -> Contact:
        """An action that was decided so long ago, and seen at once."""
        at = NOW - hours_ago * HOUR
        return Contact(
            decision_id=decision_id,
            slot=0,
            action=action,
            group="food",
            channel="web",
            decided_at=at,
            expires_at=at + HOUR,
            impressed_at=at if seen else None,
        )

    def did(self, kind: str, hours_ago: float, action: str, channel: str | None = None) -> Interaction:
        """What the customer did so long ago."""
        return Interaction(kind=kind, at=NOW - hours_ago * HOUR, action=action, channel=channel)

    def finished(self, proposal: Proposal) -> DecisionRecord:
        """What comes of a proposal, where nothing has happened meanwhile."""
        snapshot, now = proposal.record.snapshot, proposal.record.occurred_at
        return settle(proposal, reserve(proposal, snapshot.contacts, now, snapshot.usage)[0])

    def verdict(self, proposal: Proposal, action: str = "apples") -> tuple[str, str]:
        """How far an action came, and why no further."""
        return next((c.stage, c.reason) for c in proposal.record.candidates if c.action == action)


@pytest.fixture
def trial(document: dict[str, Any], models: Models) -> Trial:
    return Trial(document, models)
