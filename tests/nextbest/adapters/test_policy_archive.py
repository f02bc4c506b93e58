"""The archive of policies: whole or not there, and never another policy than the one that decided."""

import hashlib
import os
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nextbest.adapters.policy_archive import ArchiveError, archive, load, newest_first, read, read_and_archive
from nextbest.adapters.policy_files import FILES, PolicyError
from nextbest.policy_compiler import compile_policy, policy_hash
from nextbest.policy_document import PolicyDocument

ACTION: dict[str, Any] = {
    "id": "apples",
    "name": "Apples",
    "group": "food",
    "objective": "redemption",
    "purpose": "marketing",
    "value": "spend_91d * 2.0",
    "start": "2026-03-01",
    "end": "2026-03-04T00:00:00Z",
    "treatments": [{"id": "home", "placement": "home", "channel": "web", "content": {"headline": "Apples"}}],
}
CONTENT: dict[str, Any] = {
    "actions": {"currency": "USD", "actions": [ACTION]},
    "placements": {
        "channels": [{"id": "web", "quiet_hours": {"start": "21:00", "end": "08:00"}}],
        "placements": [
            {"id": "home", "channel": "web", "fallback": {"treatment": "brand", "content": {"headline": "Hi"}}}
        ],
    },
    "contact_policy": {"purposes": [{"id": "marketing", "regime": "opt_in"}]},
    "arbitration": {"exploration": {"strategy": "greedy"}, "salt": "test"},
    "features": {"features": [{"name": "spend_91d", "description": "USD"}]},
    "experiments": {"challengers": [{"id": "bold", "percent": 10, "changes": {"levers": {"apples": 200}}}]},
}


def _document(**arbitration: Any) -> PolicyDocument:
    content = deepcopy(CONTENT)
    content["arbitration"] |= arbitration
    return PolicyDocument.model_validate(content)


def test_a_policy_comes_back_as_it_was(tmp_path: Path) -> None:
    """Dates that are days and dates that are moments stay what they are; the compiled policy has the hash."""
    document = _document()
    name = archive(tmp_path / "policies", document)
    assert name == policy_hash(document)
    assert read(tmp_path / "policies", name) == document
    loaded, compiled = load(tmp_path / "policies", name), compile_policy(document)
    assert loaded.hash == compiled.hash == name
    assert [(each.opens, each.closes) for each in loaded.roll] == [(each.opens, each.closes) for each in compiled.roll]
    assert [each.policy.hash for each in loaded.experiments.challengers] == [
        each.policy.hash for each in compiled.experiments.challengers
    ]


def test_archiving_again_changes_nothing_but_which_is_newest(tmp_path: Path) -> None:
    """A policy that comes back into force is the newest again, and no scratch is left."""
    first, second = archive(tmp_path, _document()), archive(tmp_path, _document(salt="another"))
    for name, moment in ((first, 1), (second, 2)):
        os.utime(tmp_path / f"{name}.json", (moment, moment))
    assert newest_first(tmp_path) == [second, first]
    assert archive(tmp_path, _document()) == first
    assert newest_first(tmp_path) == [first, second]
    assert sorted(path.stem for path in tmp_path.iterdir()) == sorted([first, second])


def test_an_empty_archive_has_no_newest(tmp_path: Path) -> None:
    """Nor has one that is not there yet."""
    assert newest_first(tmp_path / "policies") == []


def test_a_missing_policy_says_what_to_do(tmp_path: Path) -> None:
    """The file that is missed is named."""
    with pytest.raises(ArchiveError, match=r"policy 0123456789abcdef is not in the archive .*copy 0123456789abcdef.js"):
        load(tmp_path, "0123456789abcdef")


def test_a_changed_file_is_refused_and_mended_by_archiving(tmp_path: Path) -> None:
    """What somebody edited is not the policy that decided."""
    name = archive(tmp_path, _document())
    path = tmp_path / f"{name}.json"
    path.write_bytes(path.read_bytes().replace(b"apples", b"grapes"))
    with pytest.raises(ArchiveError, match="was changed since it was written"):
        load(tmp_path, name)
    archive(tmp_path, _document())
    assert read(tmp_path, name) == _document()


def test_a_policy_of_another_version_is_not_called_damaged(tmp_path: Path) -> None:
    """A field this version does not know is named, and the file is left in peace."""
    content = msgspec.json.encode({**_document().model_dump(mode="json", by_alias=True), "tides": {}}, order="sorted")

    name = hashlib.sha256(content).hexdigest()[:16]
    (tmp_path / f"{name}.json").write_bytes(content)
    with pytest.raises(ArchiveError, match=r"this version of nextbest cannot read it \(tides: "):
        load(tmp_path, name)


def test_the_policy_in_force_is_archived_when_it_is_read(tmp_path: Path) -> None:
    """Serving reads and keeps in one step; files with mistakes leave nothing behind."""
    for name in FILES:
        (tmp_path / f"{name}.yaml").write_bytes(
            msgspec.json.encode(_document().model_dump(mode="json", by_alias=True, exclude_unset=True)[name])
        )
    policy = read_and_archive(tmp_path, tmp_path / "archive")
    assert newest_first(tmp_path / "archive") == [policy.hash]
    (tmp_path / "features.yaml").unlink()
    with pytest.raises(PolicyError):
        read_and_archive(tmp_path, tmp_path / "other")
    assert not (tmp_path / "other").exists()
