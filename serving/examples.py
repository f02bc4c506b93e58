"""Examples in the API's description: what a reader can try, because the policy in force knows the names.

Belongs here: which names are shown where. Does not belong here: the description (`serving.openapi`). They are examples,
and no closed lists: a client is not to break because a strategist adds a placement.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from nextbest.policy import Policy
from nextbest.wire import ConsentsRequest, DecisionRequest, EventsRequest, FlagRequest, SwitchRequest

_CUSTOMER = "439"
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Examples:
    """Values that are shown, by a parameter's name and by a body's type."""

    parameters: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    bodies: Mapping[type, Sequence[Any]] = field(default_factory=dict)


def examples(policy: Policy) -> Examples:
    """Those of a policy."""
    placements = [*policy.placements][:_SHOWN]
    return Examples(
        parameters={"placement": placements, "action": [*policy.actions][:_SHOWN], "customer": [_CUSTOMER]},
        bodies={
            DecisionRequest: [{"customer": {"customer_id": _CUSTOMER}, "placements": [each]} for each in placements],
            FlagRequest: [{"context": {"targetingKey": _CUSTOMER}}],
            ConsentsRequest: [{"consents": {purpose: "granted"}} for purpose in policy.regimes],
            SwitchRequest: [{"reason": "the offer ran out"}],
            EventsRequest: [{"events": [_page_view()]}],
        },
    )


def _page_view() -> dict[str, Any]:
    happened = datetime(2026, 1, 1, 12, tzinfo=UTC).isoformat()
    row = {"event_id": "visit-1", "customer_id": _CUSTOMER, "type": "page_view", "channel": "web"}
    return {"contract": "events", "properties": row | {"occurred_at": happened}}
