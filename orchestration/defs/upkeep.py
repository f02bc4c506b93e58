"""Upkeep: what is kept too long goes, every night: out of the event log, the landing and State.

Belongs here: the job, and how far back State remembers. Does not belong here: what goes
(`nextbest.adapters.log_retention`, `nextbest.state`), or when (`orchestration.defs.schedules`).
"""

import asyncio
from contextlib import closing
from datetime import UTC, datetime

import dagster as dg
import msgspec

from nextbest.adapters import policy_archive
from nextbest.adapters.log_retention import DEDUPLICATED, compact
from nextbest.adapters.logs import OpenLog
from nextbest.adapters.states import OpenState, open_state
from nextbest.settings import Settings
from orchestration.defs.resources import Workspace
from orchestration.failures import explained

UPKEEP = "upkeep"


@dg.op(description="Records of the event log, and batches of the landing, that are older than their contract allows.")
def compact_log(context: dg.OpExecutionContext, workspace: Workspace) -> None:
    """Let them go, and show what went."""
    with explained(), workspace.log() as log:
        gone = compact(log, workspace.door(), workspace.contracts(), datetime.now(UTC))
    context.add_output_metadata(msgspec.structs.asdict(gone))


@dg.op(description="Contacts and interactions in State to which no rule of the policy that decides looks back.")
def forget_in_state(context: dg.OpExecutionContext, workspace: Workspace) -> None:
    """Forget them; counters over all customers stay."""
    with explained(), workspace.log() as log, closing(open_state(workspace.settings)) as state:
        said = asyncio.run(forget(workspace.settings, log, state, datetime.now(UTC)))
    context.add_output_metadata({"forgotten": said})


async def forget(settings: Settings, log: OpenLog, state: OpenState, now: datetime) -> str:
    """Forget what counts no more, as the policy in use has it, and 35 days more; returns up to when, in words."""
    name = await state.current_policy()
    if name is None:
        return "nothing: no policy decides yet"
    margins = [each + DEDUPLICATED for each in policy_archive.load(settings.policies_archive, name).lookback]
    contacts, interactions = (now - each for each in margins)
    behind = log.read_sync(await state.applied_offset(await log.log_id()), 1)
    if behind and behind[0][1].received_at <= contacts:
        return f"nothing: State has yet to apply what the event log received at {behind[0][1].received_at.isoformat()}"
    await state.forget_before(contacts, interactions)
    return f"contacts up to {contacts:%Y-%m-%d %H:%M} UTC, interactions up to {interactions:%Y-%m-%d %H:%M} UTC"


@dg.job(name=UPKEEP, description="What is kept too long goes: out of the event log, the landing and State.")
def upkeep() -> None:
    """Either does its part whatever becomes of the other."""
    compact_log()
    forget_in_state()
