"""The kill switch: an action is paused, or resumed.

Belongs here: the log's entry of it, and its way through log and State, for whoever uses it: a command or the API. Does
not belong here: what it does to State (`nextbest.state`), or to a decision (`nextbest.screening`).
"""

from datetime import datetime
from typing import Literal

from nextbest.envelope import Envelope
from nextbest.log import EventLog
from nextbest.state import SnapshotScope, State

Switch = Literal["pause", "resume"]


def switched(switch: Switch, action: str, event_id: str, now: datetime, *, reason: str = "") -> Envelope:
    """The log's entry; no contract has rows of its kind."""
    return Envelope(
        event_id=event_id,
        type=switch,
        contract="",
        contract_version="",
        source="live",
        occurred_at=now,
        received_at=now,
        partition_key=action,
        action=action,
        properties={"reason": reason} if reason else {},
    )


async def use(log: EventLog, state: State, entry: Envelope) -> bool:
    """Log the entry first, since State is rebuilt from the log, then bring it into State, so that it binds at once.

    Returns:
        Whether the action was paused before.

    Raises:
        LogUnavailableError: nothing was switched.
        StateUnavailableError: it is logged, and binds once State has it.

    """
    await log.append([entry])
    before = await state.snapshot(None, SnapshotScope(entry.occurred_at, entry.occurred_at))
    await state.apply([entry], None)
    return entry.action in before.pauses
