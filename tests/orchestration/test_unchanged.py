"""Tests of `orchestration.unchanged`."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from orchestration import unchanged

KEY = dg.AssetKey(["a", "thing"])


def _run(
    instance: dg.DagsterInstance, version: str, *, is_present: bool = True, tags: dict[str, str] | None = None
) -> Any:
    """Materialize an asset of this version; returns its metadata."""

    @dg.asset(key=KEY)
    def thing(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        return unchanged.materialize(context, KEY, version, lambda: {"rows": len(version)}, is_present=is_present)

    result = dg.materialize([thing], instance=instance, tags=tags)
    (event,) = result.asset_materializations_for_node("a__thing")
    return {name: value.value for name, value in event.metadata.items()}


def test_the_same_version_is_not_made_twice() -> None:
    """The second run repeats what the first one said, without the work, and says so."""
    with dg.DagsterInstance.ephemeral() as instance:
        assert _run(instance, "v1") == {"rows": 2, "skipped": False}
        assert _run(instance, "v1") == {"rows": 2, "skipped": True}
        assert _run(instance, "v1") == {"rows": 2, "skipped": True}


@pytest.mark.parametrize(
    "change",
    [
        {"version": "v11"},
        {"version": "v1", "is_present": False},
        {"version": "v1", "tags": {unchanged.FULL_TAG: "true"}},
    ],
)
def test_work_is_done_when_something_changed(change: dict[str, Any]) -> None:
    """Another version, a result that is gone and a run that asks for everything are reasons to work."""
    with dg.DagsterInstance.ephemeral() as instance:
        _run(instance, "v1")
        assert _run(instance, **change)["skipped"] is False


def test_a_digest_knows_where_its_parts_end() -> None:
    """Parts that run together to the same text are still different parts."""
    assert unchanged.digest("ab", "c") != unchanged.digest("a", "bc")
    assert unchanged.digest("a", 1) == unchanged.digest("a", 1)


def test_a_file_digest_sees_contents_and_names(tmp_path: Path) -> None:
    """Order does not matter, a changed byte and a new name do."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("1")
    second.write_text("2")
    before = unchanged.file_digest([first, second])
    assert unchanged.file_digest([second, first]) == before
    second.write_text("3")
    assert unchanged.file_digest([first, second]) != before


def test_code_is_found_without_being_run() -> None:
    """A package's digest is over all of its modules; what does not exist is said."""
    assert unchanged.code_digest("models") != unchanged.code_digest("models.gates")
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        unchanged.code_digest("nowhere")
