"""Metrics: replicas count by themselves, and are added up."""

import os
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from serving.metrics import Meter


def value(meter: Meter, name: str, **labels: str) -> float:
    families = text_string_to_metric_families(meter.exposition().decode())
    samples = [s for f in families for s in f.samples if s.name == name and labels.items() <= s.labels.items()]
    return sum(sample.value for sample in samples)


def as_process(meter: Meter, folder: Path, pid: int) -> Meter:
    """The meter, writing as another process would."""
    meter._path = folder / f"{pid}.json"  # noqa: SLF001  what the process id decides
    return meter


def test_replicas_are_added_up(tmp_path: Path) -> None:
    """Whichever is asked, also once another has been killed; what it decided with is in use no more after a while."""
    here, there = Meter(tmp_path), as_process(Meter(tmp_path), tmp_path, 1)
    for meter, took_s in ((here, 0.0002), (there, 0.3), (there, 3.0)):
        meter.in_use = lambda: ("policy", "models", "1")
        meter.answered("decide", 200, took_s)
    there.write()
    assert value(here, "nextbest_requests_total", operation="decide", status="200") == 3
    assert value(here, "nextbest_request_seconds_bucket", operation="decide", le="0.00025") == 1
    assert value(here, "nextbest_request_seconds_bucket", operation="decide", le="0.5") == 2
    assert value(here, "nextbest_request_seconds_count", operation="decide") == 3
    assert value(here, "nextbest_in_use", policy="policy") == 2
    os.utime(tmp_path / "1.json", (0, 0))
    assert value(here, "nextbest_in_use", policy="policy") == 1
    assert value(here, "nextbest_requests_total") == 3


def test_a_replica_that_ends_in_order_leaves_its_counts(tmp_path: Path) -> None:
    """No counter ever falls."""
    here, there = Meter(tmp_path), as_process(Meter(tmp_path), tmp_path, 1)
    there.in_use = lambda: ("policy", "models", "1")
    there.answered("decide", 200, 0.001)
    there.retire()
    assert (value(here, "nextbest_requests_total"), value(here, "nextbest_in_use")) == (1, 0)


def test_a_file_of_another_version_is_passed_over(tmp_path: Path) -> None:
    """Metrics are no reason to fail."""
    here = Meter(tmp_path)
    (tmp_path / "1.json").write_text("{")
    here.answered("decide", 200, 0.001)
    assert value(here, "nextbest_requests_total") == 1
