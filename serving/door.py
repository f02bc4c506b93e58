"""The door of a home for commands: the way in that its servers have, opened beside them or without them.

Belongs here: opening and closing what it is made of. Does not belong here: what it does (`serving.intake`).
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime

from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.logs import open_log
from nextbest.adapters.quarantine import Quarantine
from nextbest.adapters.states import open_state
from nextbest.settings import Settings
from serving.intake import Intake
from serving.metrics import Meter


@contextmanager
def opened(settings: Settings) -> Iterator[Intake]:
    """The way into the log and the quarantine of the home."""
    contracts = load_contracts(settings.folder("contracts"))
    with (
        closing(open_log(settings)) as log,
        closing(open_state(settings)) as state,
        closing(Quarantine(settings.rejected_events, contracts)) as quarantine,
    ):
        meter = Meter(settings.metrics)  # counts for nobody: it is the servers' rows that are counted
        yield Intake(contracts=contracts, log=log, state=state, clock=_now, quarantine=quarantine, meter=meter)


def _now() -> datetime:
    return datetime.now(UTC)
