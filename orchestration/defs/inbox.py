"""Inbox: files dropped into a folder, landed as soon as nobody writes to them any more.

Belongs here: the job that takes them. Does not belong here: which are ready and where they go
(`nextbest.adapters.inbox`), or what starts the job (`orchestration.defs.sensors`).
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from nextbest.adapters.inbox import FAILED, ready, take
from orchestration.defs.landing import receipt_metadata, table_key
from orchestration.defs.resources import Workspace
from orchestration.failures import explained

INBOX = "inbox"


@dg.op(description="Every file in the inbox that is ready, into the landing.")
def land_files(workspace: Workspace) -> Iterator[dg.AssetMaterialization | dg.Output[None]]:
    """Land them all; where one could not, the run fails at the end, so that somebody is told."""
    settings, contracts = workspace.settings, workspace.contracts()
    failed = []
    with explained():
        for taken in take(workspace.door(), ready(settings.inbox, datetime.now(UTC))):
            if taken.receipt is None:
                failed.append(f"{taken.path.name}: {taken.reason}")
                continue
            metadata = receipt_metadata(settings, contracts[taken.contract], taken.receipt)
            metadata |= {"file": dg.MetadataValue.path(taken.path)}
            yield dg.AssetMaterialization(table_key(taken.contract, ()), metadata=metadata)
    if failed:
        said = "; ".join(failed)
        raise dg.Failure(f"could not land, and are in {FAILED}/ beside where they were: {said}", allow_retries=False)
    yield dg.Output(None)


@dg.job(name=INBOX, description="Files dropped into the inbox, into the landing.")
def inbox() -> None:
    """One step: files of one contract come in their order."""
    land_files()
