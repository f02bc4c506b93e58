"""The archive of policies: every policy that ever decided, each in a file named by its hash.

Belongs here: writing a policy's document so that it appears whole or not at all, and reading it back unchanged. Does
not belong here: the files people edit (`nextbest.adapters.policy_files`), or what a document means
(`nextbest.policy_compiler`).

A file holds exactly the bytes that the policy's hash is the digest of, so that damage shows without knowing its fields.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

import msgspec
from pydantic import ValidationError

from nextbest.adapters.files import write_whole
from nextbest.adapters.policy_files import read_document
from nextbest.errors import NextbestError
from nextbest.policy import Policy
from nextbest.policy_compiler import compile_policy, policy_hash
from nextbest.policy_document import PolicyDocument

_DIGITS = 16


class ArchiveError(NextbestError):
    """A policy that the archive has not, or has no longer as it was written."""


def archive(folder: Path, document: PolicyDocument) -> str:
    """Keep a checked `document` as the newest policy of the archive in `folder`.

    Returns:
        The policy's hash. A policy that is there already is only touched, and one that was damaged written anew.

    """
    name = policy_hash(document)
    content = msgspec.json.encode(document.model_dump(mode="json", by_alias=True), order="sorted")
    path = _path(folder, name)
    if path.is_file() and path.read_bytes() == content:
        path.touch()
    else:
        write_whole(path, content)
    return name


def read_and_archive(policies: Path, folder: Path) -> Policy:
    """The policy of the files in `policies`, ready to decide: from now on its decisions can be explained.

    Raises:
        PolicyError: the files have mistakes; nothing is archived.

    """
    document = read_document(policies)
    policy = compile_policy(document)
    archive(folder, document)
    return policy


def read(folder: Path, name: str) -> PolicyDocument:
    """The document of the policy with the hash `name`.

    Raises:
        ArchiveError: there is none, it was changed since it was written, or this version of nextbest cannot read it.

    """
    path = _path(folder, name)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArchiveError(
            f"policy {name} is not in the archive {folder} ({error.strerror}): copy {path.name} there from a backup, "
            "or from the machine that decided with it"
        ) from error
    if _digest(content) != name:
        raise ArchiveError(f"{path} was changed since it was written: bring it back from a backup")
    try:
        return PolicyDocument.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ArchiveError(
            f"{path} is whole, but this version of nextbest cannot read it ({where}: {first['msg']}): use the version "
            "that the decision's code_version names"
        ) from error


def load(folder: Path, name: str) -> Policy:
    """The policy with the hash `name`, compiled.

    It keeps that hash, which its draws depend on, also where a later version of nextbest would name it otherwise.

    Raises:
        ArchiveError: as `read`.

    """
    return replace(compile_policy(read(folder, name)), hash=name)


def newest_first(folder: Path) -> list[str]:
    """The hashes of the policies in the archive, those that were archived last first."""
    written = sorted((path.stat().st_mtime_ns, path.stem) for path in folder.glob("[!.]*.json"))
    return [name for _, name in reversed(written)]


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_DIGITS]
