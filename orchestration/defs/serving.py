"""Serving: what the batch plane hands to the online state, through the event log like everything else.

Belongs here: appending landed identities, consents and signals to the log, from which the event processor brings them
into State. Does not belong here: State itself, or answering requests (`serving/`).
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import msgspec

from nextbest.adapters.log_landing import is_from_log
from nextbest.intake import landed
from orchestration import unchanged
from orchestration.defs.landing import landing_key
from orchestration.defs.resources import Workspace
from orchestration.unchanged import digest

GROUP = "serving"
ONLINE_STATE = dg.AssetKey([GROUP, "online_state"])
CONTRACTS = ("identities", "consents", "signals")

_PAGE = 5_000


@dg.asset(
    key=ONLINE_STATE,
    deps=[landing_key(name) for name in CONTRACTS],
    group_name=GROUP,
    description="Landed identities, consents and signals in the event log, from which the online state is built.",
    kinds={"sqlite"},
)
def online_state(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult[Any]:
    """Append what is not in the log yet; the same row has the same event id every time, a corrected one another."""
    door, contracts = workspace.migrated_door(), workspace.contracts()
    delivered = {name: [each for each in door.receipts(name) if not is_from_log(each)] for name in CONTRACTS}
    batches = [receipt.batch_id for name in CONTRACTS for receipt in delivered[name]]
    promises = [msgspec.json.encode(contracts[name]) for name in CONTRACTS]
    version = digest(*batches, *promises, unchanged.code_digest("nextbest.intake"))

    def work() -> Mapping[str, Any]:
        received_at = datetime.now(UTC)
        counts = {}
        with workspace.log() as log:
            for name in CONTRACTS:
                rows = door.read(name, receipts=delivered[name]).to_pylist()
                duplicates = 0
                for start in range(0, len(rows), _PAGE):
                    page = [landed(contracts[name], row, received_at) for row in rows[start : start + _PAGE]]
                    duplicates += len(log.append_sync(page).duplicates)
                counts[f"{name} appended"] = len(rows) - duplicates
        return counts

    return unchanged.materialize(context, ONLINE_STATE, version, work, is_present=workspace.settings.event_log.exists())
