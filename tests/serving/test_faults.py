"""Parts that fail under load: nothing that was acknowledged is lost, and nothing counts twice.

The short form of `nextbest bench faults`: every fault strikes once, one after the other, amid the same traffic.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import httpx
import pytest

from benchmarks.trials.audit import Auditor
from benchmarks.trials.faults import FAULTS, wait_until_whole
from benchmarks.trials.installation import BACKENDS, installed
from benchmarks.trials.traffic import Traffic
from nextbest.adapters.key_file import KeyFile
from nextbest.adapters.supervisor import Supervisor
from nextbest.settings import Settings
from tests.serving.server import eventually

CUSTOMERS = [f"c{number}" for number in range(40)]
LASTS_S = 0.7
SETTLE_S = 60.0

pytestmark = pytest.mark.integration


def _says(file: Path, words: str) -> bool:
    return words in file.read_text()


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_was_acknowledged_is_there_once_whatever_fails(
    backend: str,
    tmp_path: Path,
    write_policy: Callable[[Path], None],
    materialize: Callable[[Settings, list[str]], None],
    publish: Callable[[Settings, float], str],
) -> None:
    """Every event in the log and in State once, every decision logged as it was answered, no cap exceeded."""

    def prepare(settings: Settings) -> Mapping[str, str]:
        write_policy(settings.home)
        materialize(settings, CUSTOMERS)
        publish(settings, 0.1)
        _, key = KeyFile(settings.api_keys).create("tests", ("decide", "events"), 0, datetime.now(UTC))
        return {"Authorization": f"Bearer {key}"}

    struck: dict[str, tuple[float, float]] = {}
    with installed(backend, tmp_path / "home", prepare) as at, closing(Auditor(at.settings)) as auditor:
        traffic = Traffic(
            url=at.url,
            key=at.key,
            customers=CUSTOMERS,
            placements=["home_banner"],
            decisions_per_s=10.0,
            batches_per_s=3.0,
        )
        auditor.begin()
        with traffic.flowing():
            for fault in FAULTS:
                if backend in fault.backends:
                    began = time.monotonic()
                    fault.strike(at, LASTS_S)
                    struck[fault.name] = began, time.monotonic()
                    wait_until_whole(at)
                if fault.name == "poison":  # the processor says so, and the server's own log has it
                    said = Supervisor.of(at.settings).log_file("serving")
                    assert eventually(partial(_says, said, "has no effect"), SETTLE_S), said.read_text()
            time.sleep(LASTS_S)
        found = auditor.find(traffic, SETTLE_S)
    assert found.is_clean, found
    assert found.acknowledged > len(CUSTOMERS), found
    assert found.refusals, found  # the faults were felt
    asked = [each.sent_s for each in traffic.decisions if each.status == httpx.codes.OK]
    went_on = {name for name, (begin, end) in struck.items() if any(begin < sent_s < end for sent_s in asked)}
    assert went_on >= struck.keys() - {"all_killed"}
