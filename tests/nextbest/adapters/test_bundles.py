"""Bundles: whole or not there, and never another file than the one that was registered."""

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nextbest.adapters.bundles import MANIFEST, BundleError, read_bundle, write_bundle
from nextbest.model_set import Model, ModelSet, model_set

CONTENT = b"a model"


@pytest.fixture
def one() -> ModelSet:
    model = Model(
        name="clv",
        version="1",
        run_id="run",
        file="clv.onnx",
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        features=(),
        output="value",
    )
    return model_set([model], datetime(2026, 1, 1, tzinfo=UTC))


def test_round_trip(tmp_path: Path, one: ModelSet) -> None:
    """What is written is read, the second writing of the same set changes nothing, and no scratch is left."""
    bundle = write_bundle(tmp_path / "bundles", one, {"clv.onnx": CONTENT})
    assert write_bundle(tmp_path / "bundles", one, {"clv.onnx": CONTENT}) == bundle
    assert read_bundle(tmp_path / "bundles", one.id) == (one, {"clv.onnx": CONTENT})
    assert list((tmp_path / "bundles").iterdir()) == [bundle]


def test_a_set_written_again_is_the_newest(tmp_path: Path, one: ModelSet) -> None:
    """Serving without State starts from the newest bundle, which after a rollback is the older set."""
    manifest = write_bundle(tmp_path, one, {"clv.onnx": CONTENT}) / MANIFEST
    os.utime(manifest, (0, 0))
    write_bundle(tmp_path, one, {"clv.onnx": CONTENT})
    assert manifest.stat().st_mtime > 0


def test_a_broken_bundle_is_written_anew(tmp_path: Path, one: ModelSet) -> None:
    """What somebody changed since does not stand in the way."""
    (write_bundle(tmp_path, one, {"clv.onnx": CONTENT}) / "clv.onnx").write_bytes(b"tampered")
    write_bundle(tmp_path, one, {"clv.onnx": CONTENT})
    assert read_bundle(tmp_path, one.id) == (one, {"clv.onnx": CONTENT})


@pytest.mark.parametrize(("files", "complaint"), [({}, "is missing"), ({"clv.onnx": b"other"}, "is not the file")])
def test_writes_only_what_was_registered(
    tmp_path: Path, one: ModelSet, files: dict[str, bytes], complaint: str
) -> None:
    """A missing or different file is refused, and nothing appears."""
    with pytest.raises(BundleError, match=complaint):
        write_bundle(tmp_path, one, files)
    assert list(tmp_path.iterdir()) == []


def test_a_changed_file_is_refused(tmp_path: Path, one: ModelSet) -> None:
    """A file that changed after it was written is named with both hashes."""
    bundle = write_bundle(tmp_path, one, {"clv.onnx": CONTENT})
    (bundle / "clv.onnx").write_bytes(b"tampered")
    with pytest.raises(BundleError, match=rf"{one.id}: clv.onnx is not the file of clv version 1: .* not "):
        read_bundle(tmp_path, one.id)


def test_a_missing_bundle_is_named(tmp_path: Path) -> None:
    """A set that was never written here says so."""
    with pytest.raises(BundleError, match="model set 0123 cannot be read"):
        read_bundle(tmp_path, "0123")
