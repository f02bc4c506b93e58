"""Identity: which customers are one person, as far as what was written with their identifiers tells.

Belongs here: handing staged identities to the linkage model, appending to the event log what is sure enough, and
showing the rest. Does not belong here: how pairs are found (`models.linkage`), which of them are applied
(`nextbest.links`), or what State makes of a link. Splink takes time to import, so the step imports `models` when it has
work to do.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pyarrow as pa

from nextbest.adapters.link_files import ProposalsError, read_erased, read_proposals, read_verdicts, write_proposals
from nextbest.adapters.logs import OpenLog
from nextbest.identity import Limits, link
from nextbest.links import BY_MODEL, Proposal, Proposals, to_apply, waiting, without
from nextbest.settings import Settings
from orchestration import unchanged
from orchestration.dbt import parsed_project, read_manifest
from orchestration.defs.reconciliation import staging_key
from orchestration.defs.resources import Workspace
from orchestration.defs.serving import ONLINE_STATE
from orchestration.defs.warehouse import POOL
from orchestration.failures import explained
from orchestration.pages import page_path, page_url, write_page
from orchestration.unchanged import digest
from orchestration.waterfalls import waterfalls_page

GROUP = "identity"
LINKS = dg.AssetKey([GROUP, "identity_links"])
CONTRACT = "identities"

_CODE = ("models.linkage", "nextbest.links", "orchestration.waterfalls")
_TABLE = ".".join(staging_key(CONTRACT).path)
_SHOWN = 20


@dg.asset(
    key=LINKS,
    deps=[staging_key(CONTRACT), ONLINE_STATE],
    group_name=GROUP,
    description="Customers who are one person: linked in the event log where that is sure, else shown for review.",
    kinds={"duckdb"},
    pool=POOL,
)
def identity_links(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult[Any]:
    """Propose links, apply those that are probable enough and undecided, and show what waits for a person."""
    settings = workspace.settings
    most = Limits.parse(settings.identity_limits).customers
    version = digest(_rows(settings), settings.link_probability, most, unchanged.code_digest(*_CODE))

    def work() -> Mapping[str, Any]:
        with explained(), workspace.log() as log:
            found, remark = _found(settings)
            found = without(found, read_erased(log))
            write_proposals(settings.proposed_links, found)
            return {**_apply(log, found, most), **_shown(settings, log, found, most), **remark}

    with workspace.log() as log, explained():
        last = _last(settings)
        # A log that was lost, or is another one now, is told again; and who was erased since leaves the file.
        is_present = (
            last is not None
            and last == without(last, read_erased(log))
            and not to_apply(last, read_verdicts(log), most)
        )
    return unchanged.materialize(context, LINKS, version, work, is_present=is_present)


def _last(settings: Settings) -> Proposals | None:
    """What was proposed last; a file that cannot be read is written anew."""
    try:
        return read_proposals(settings.proposed_links)
    except ProposalsError:
        return None


def _rows(settings: Settings) -> object:
    """A digest of the staged rows, whatever their order."""
    with closing(duckdb.connect(settings.warehouse, read_only=True)) as connection:
        return connection.execute(f"SELECT count(*), bit_xor(hash(said)) FROM {_TABLE} AS said").fetchall()  # noqa: S608  our own model's name


def _found(settings: Settings) -> tuple[Proposals, Mapping[str, Any]]:
    """What the model proposes; nothing, and why, where there is too little to learn from."""
    with closing(duckdb.connect(settings.warehouse, read_only=True)) as connection:
        records: pa.Table = connection.sql(f"FROM {_TABLE}").to_arrow_table()
    if not records:
        return Proposals(settings.link_probability, ()), {"nothing was proposed": f"{_TABLE} has no row"}
    linkage = import_module("models.linkage")
    try:
        return Proposals(settings.link_probability, linkage.propose(records)), {}
    except import_module("models.errors").TooLittleDataError as error:
        return Proposals(settings.link_probability, ()), {"nothing was proposed": str(error)}


def _apply(log: OpenLog, found: Proposals, most: int) -> Mapping[str, Any]:
    now = datetime.now(UTC)
    applied = to_apply(found, read_verdicts(log), most)
    entries = [link(*each.pair, now, by=BY_MODEL, probability=each.probability) for each in applied]
    if entries:
        log.append_sync(entries)
    return {"proposed": len(found.proposals), "applied now": len(entries), "applied from": found.applied_from}


def _shown(settings: Settings, log: OpenLog, found: Proposals, most: int) -> Mapping[str, Any]:
    said = read_verdicts(log)
    waits = waiting(found, said, most)
    linked = [each for each in found.proposals if said.get(each.pair) == "linked"]
    split = [each for each in found.proposals if said.get(each.pair) == "split"]
    sections = [("For review", waits), ("Linked", linked), ("Taken back", split)]
    write_page(page_path(settings, GROUP, LINKS.path[-1]), waterfalls_page("Customers who may be one person", sections))
    return {
        "linked": len(linked),
        "taken back": len(split),
        "waiting for review": len(waits),
        "for review": dg.MetadataValue.md(_table(waits) or "nothing: `nextbest identity review` shows what waits"),
        "waterfalls": dg.MetadataValue.url(page_url(settings, GROUP, LINKS.path[-1])),
    }


def _table(proposals: Sequence[Proposal]) -> str:
    rows = [
        {
            "customer": each.customer_id,
            "other": each.other_id,
            "probability": f"{each.probability:.1%}",
            "why": ", ".join(f"{c.column} {c.level} {c.weight:+.1f}" for c in each.contributions),
        }
        for each in proposals[:_SHOWN]
    ]
    return str(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)) if proposals else ""


@dg.definitions
def defs() -> dg.Definitions:
    """The asset, where the home's dbt project stages identities."""
    manifest = read_manifest(parsed_project(Settings.from_env()))
    staged = {node["name"] for node in manifest["nodes"].values() if node["resource_type"] == "model"}
    return dg.Definitions(assets=[identity_links] if staging_key(CONTRACT).path[-1] in staged else [])
