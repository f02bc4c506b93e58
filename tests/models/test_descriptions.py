"""What a version serves by: written, read back, and held against what the gate judged; no store is needed."""

from datetime import UTC, datetime

import pytest

from models.descriptions import check_judged, described, description, sha256
from models.versions import GATE_DESCRIPTION, GATE_SHA256, UnservableError, Version
from nextbest.model_set import FeatureSpec, Model

MODEL = Model(
    name="clv", version="", run_id="", file="clv.onnx", sha256="", features=(FeatureSpec("spend", "customer"),),
    output="value",
)  # fmt: skip


def version(**tags: str) -> Version:
    moment = datetime(2026, 3, 2, tzinfo=UTC)
    return Version(name="churn", version="3", run_id="r", aliases=frozenset(), created_at=moment, tags=tags)


def test_a_description_is_read_as_it_was_written_under_the_registrys_names() -> None:
    """Features as they were; name, version, run and hash of where it was found."""
    model = described(version(), b"file", description(MODEL))
    assert model.features == MODEL.features
    assert (model.name, model.file, model.version, model.run_id) == ("churn", "churn.onnx", "3", "r")
    assert model.sha256 == sha256(b"file")


def test_a_description_that_is_none_is_said() -> None:
    """Not in a decoder's words alone."""
    with pytest.raises(UnservableError, match=r"its extra_files/model.json cannot be read: "):
        described(version(), b"file", b"{")


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({}, "the file's sha256 is .*, but the gate judged None"),
        ({GATE_SHA256: "0"}, "the file's sha256 is .*, but the gate judged 0"),
        ({GATE_SHA256: sha256(b"file"), GATE_DESCRIPTION: "0"}, "the description's sha256 is"),
    ],
)
def test_what_the_gate_did_not_judge_is_refused(tags: dict[str, str], said: str) -> None:
    """The file, and the description where a gate has judged one."""
    with pytest.raises(UnservableError, match=said):
        check_judged(version(**tags), b"file", b"said")


def test_what_the_gate_judged_is_taken() -> None:
    """Also of versions from before descriptions were judged."""
    check_judged(version(**{GATE_SHA256: sha256(b"file")}), b"file", b"said")
    check_judged(version(**{GATE_SHA256: sha256(b"file"), GATE_DESCRIPTION: sha256(b"said")}), b"file", b"said")
