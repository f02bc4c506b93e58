"""What every asset works with: the home's settings, contracts, door, source and event log.

Belongs here: resources. Does not belong here: what assets do with them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.landing import Door
from nextbest.adapters.logs import OpenLog, open_log
from nextbest.adapters.sources import load_source
from nextbest.contracts import Contract
from nextbest.settings import Settings
from nextbest.source import Source
from orchestration.failures import explained


class Workspace(dg.ConfigurableResource[None]):
    """The home of this process; read from its settings whenever it is asked, so that nothing is read at load."""

    @property
    def settings(self) -> Settings:
        return Settings.from_env()

    def contracts(self) -> dict[str, Contract]:
        return load_contracts(self.settings.folder("contracts"))

    def door(self) -> Door:
        """The door to the home's landing, with every contract readable even where nothing has landed."""
        door = Door.of(self.settings)
        door.prepare()
        return door

    def migrated_door(self) -> Door:
        """The door for whoever reads what has landed: all of it is in the major versions of today.

        Who delivers takes `door`: what is delivered anew needs no migration.
        """
        door = self.door()
        with explained():
            for name in self.contracts():
                door.migrate(name)
        return door

    def source(self) -> Source:
        source = load_source(self.settings)
        if source is None:
            raise dg.Failure("NEXTBEST_SOURCE is none: data is landed with `nextbest ingest`", allow_retries=False)
        return source

    @contextmanager
    def log(self) -> Iterator[OpenLog]:
        """The event log, closed at the end."""
        log = open_log(self.settings)
        try:
            yield log
        finally:
            log.close()


@dg.definitions
def defs() -> dg.Definitions:
    """The workspace; steps run one after the other in the process of the run, which starts once instead of per step."""
    return dg.Definitions(resources={"workspace": Workspace()}, executor=dg.in_process_executor)
