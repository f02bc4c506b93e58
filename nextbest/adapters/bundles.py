"""Bundles: a model set on disk, a folder named by its id with a manifest and the model files.

Belongs here: writing a bundle so that it appears whole or not at all, reading its manifest, and finding the files
unchanged. Does not belong here: running models (`nextbest.adapters.onnx`), or which set is the current one (State).
"""

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from nextbest.errors import NextbestError
from nextbest.model_set import Model, ModelSet, decode_manifest, encode_manifest

MANIFEST = "manifest.json"


class BundleError(NextbestError):
    """A bundle that is missing, incomplete, or not what its manifest says."""


def write_bundle(bundles: Path, model_set: ModelSet, files: Mapping[str, bytes]) -> Path:
    """Write `model_set` below `bundles`, as the newest of them; where it is there already, that is all that changes.

    Args:
        bundles: The folder of all bundles.
        model_set: What the manifest says.
        files: The content of each model's `file`.

    Raises:
        BundleError: a file is missing or is not the one its model's sha256 names.

    """
    for model in model_set.everyone:
        if model.file not in files:
            raise BundleError(f"model set {model_set.id}: the file of {model.name} is missing: {model.file}")
        _verify(model, files[model.file], model_set.id)
    bundle = bundles / model_set.id
    with suppress(BundleError):
        read_bundle(bundles, model_set.id)
        (bundle / MANIFEST).touch()
        return bundle
    shutil.rmtree(bundle, ignore_errors=True)  # what is there of it has been changed or cut short
    bundles.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{model_set.id}.", dir=bundles))
    try:
        for model in model_set.everyone:
            (staging / model.file).write_bytes(files[model.file])
        (staging / MANIFEST).write_bytes(encode_manifest(model_set))
        staging.chmod(0o755)  # mkdtemp makes it readable by nobody else
        _appear(staging, bundle)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return bundle


def read_bundle(bundles: Path, model_set_id: str) -> tuple[ModelSet, dict[str, bytes]]:
    """The model set and, by the name of the file, the verified content of every model's.

    Raises:
        BundleError: there is no such bundle, or a file is not the one its model's sha256 names.

    """
    bundle = bundles / model_set_id
    try:
        model_set = decode_manifest((bundle / MANIFEST).read_bytes())
        files = {model.file: (bundle / model.file).read_bytes() for model in model_set.everyone}
    except (OSError, msgspec.DecodeError) as error:
        raise BundleError(f"model set {model_set_id} cannot be read: {error}") from error
    for model in model_set.everyone:
        _verify(model, files[model.file], model_set_id)
    return model_set, files


def _verify(model: Model, content: bytes, model_set_id: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != model.sha256:
        raise BundleError(
            f"model set {model_set_id}: {model.file} is not the file of {model.name} version {model.version}: "
            f"its sha256 is {found}, not {model.sha256}"
        )


def _appear(staging: Path, bundle: Path) -> None:
    """Rename into place; a writer of the same set that was faster has written the same."""
    try:
        staging.replace(bundle)
    except OSError:
        if not (bundle / MANIFEST).is_file():
            raise
