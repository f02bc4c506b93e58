"""What a version serves by: the ONNX file, and beside it `model.json`, which says how to feed it.

Belongs here: writing and reading the description, and whether both are what the gate judged. Does not belong here:
where they are kept (`models.registry`), or what the gate asks (`models.gates`).
"""

import hashlib

import msgspec

from models.versions import GATE_DESCRIPTION, GATE_SHA256, UnservableError, Version
from nextbest.model_set import Model

MODEL_FILE = "model.onnx"
DESCRIPTION = "extra_files/model.json"


def description(model: Model) -> bytes:
    """The content of `model.json`."""
    return msgspec.json.format(msgspec.json.encode(model), indent=2)


def described(version: Version, content: bytes, description: bytes) -> Model:
    """The model by its description; name and file are the registry's, wherever the description was taken from."""
    try:
        model = msgspec.json.decode(description, type=Model)
    except msgspec.DecodeError as error:
        raise UnservableError(f"its {DESCRIPTION} cannot be read: {error}") from error
    return msgspec.structs.replace(
        model,
        name=version.name,
        file=f"{version.name}.onnx",
        version=version.version,
        run_id=version.run_id,
        sha256=sha256(content),
    )


def sha256(content: bytes) -> str:
    """As tags have it."""
    return hashlib.sha256(content).hexdigest()


def check_judged(version: Version, content: bytes, said: bytes) -> None:
    """Find what is another file, or another description, than the gate judged.

    Raises:
        UnservableError: one of them is.

    """
    for tag, data, what in ((GATE_SHA256, content, "file"), (GATE_DESCRIPTION, said, "description")):
        # Of versions from before there was such a tag, the description is taken as it is.
        found, judged = sha256(data), version.tags.get(tag)
        if found != judged and (judged is not None or tag == GATE_SHA256):
            raise UnservableError(f"the {what}'s sha256 is {found}, but the gate judged {judged}")
