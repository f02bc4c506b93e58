"""Live features of the past, for whoever wants to train on them: one row per customer and contact.

Belongs here: publishing them. Does not belong here: how they are made (`models.live`). The pipeline leaves them out: no
model takes them yet, since what customers did digitally is simulated in the demo; materialize the asset by itself.
"""

import os
from collections.abc import Mapping
from typing import Any

import dagster as dg
import msgspec
import pandas as pd

from nextbest.adapters.marts import live_history_file
from nextbest.adapters.policy_files import read_document
from nextbest.live import READS
from nextbest.live_features import PREFIX
from nextbest.policy_compiler import rule_features
from nextbest.settings import Settings
from orchestration import unchanged
from orchestration.defs.features import GROUP, SNAPSHOT
from orchestration.defs.resources import Workspace
from orchestration.failures import explained
from orchestration.unchanged import code_digest, digest

LIVE_HISTORY = dg.AssetKey([GROUP, "live_history"])
_LABELS = "propensity_labels"
_CODE = (
    "models.live",
    "nextbest.contact_rules",
    "nextbest.envelope",
    "nextbest.intake",
    "nextbest.live",
    "nextbest.live_features",
    "nextbest.live_history",
    "nextbest.moments",
    "nextbest.source",
)


@dg.asset(
    key=LIVE_HISTORY,
    deps=[SNAPSHOT],
    group_name=GROUP,
    description="The live features that features.yaml declares, as they were when each customer was contacted.",
    kinds={"parquet"},
)
def live_history(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult[Any]:
    """Replay what has landed up to each contact."""
    settings = workspace.settings
    path = live_history_file(settings.marts)
    with explained():
        names = _declared(settings)
    snapshot = (settings.marts / "current").resolve().name
    version = digest(snapshot, *names, *_landed(workspace), code_digest(*_CODE))

    def work() -> Mapping[str, Any]:
        from models.live import live_columns  # noqa: PLC0415  pyarrow's datasets take a moment, for whom it concerns

        labels = pd.read_parquet(settings.marts / "current" / f"{_LABELS}.parquet")
        frame = live_columns(settings, names, labels["customer_id"], labels["contacted_at"])
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        frame.to_parquet(draft, index=False)
        draft.rename(path)
        return {"path": dg.MetadataValue.path(path), "rows": len(frame), "features": len(names)}

    return unchanged.materialize(context, LIVE_HISTORY, version, work, is_present=path.exists())


def _landed(workspace: Workspace) -> list[object]:
    """What it is made of beside the snapshot: contracts, and the batches that have landed under them."""
    door, contracts = workspace.migrated_door(), workspace.contracts()
    names = [*READS, "customers"]
    batches = [receipt.batch_id for name in names for receipt in door.receipts(name)]
    return [*batches, *(msgspec.json.encode(contracts[name]) for name in names)]


def _declared(settings: Settings) -> list[str]:
    document = read_document(settings.folder("policies"))
    actions = [action.id for action in document.actions.actions]
    declared = (feature for feature in rule_features(document.features, actions) if feature.origin == "customer")
    return sorted(feature.name for feature in declared if feature.name.startswith(PREFIX))
