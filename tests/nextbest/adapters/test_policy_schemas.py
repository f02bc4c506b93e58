"""The files of schemas: written where they are missing or old, and only there."""

import shutil
from pathlib import Path

from nextbest.adapters.policy_schemas import stale_schemas
from nextbest.settings import CHECKOUT


def test_the_repositorys_are_up_to_date() -> None:
    """What editors go by is what is checked."""
    assert stale_schemas(CHECKOUT / "policies", write=False) == []


def test_only_what_is_stale_is_written(tmp_path: Path) -> None:
    """A file that is old and one that is missing; looking changes nothing."""
    folder = Path(shutil.copytree(CHECKOUT / "policies" / "schema", tmp_path / "schema"))
    (folder / "actions.schema.json").write_text("{}")
    (folder / "features.schema.json").unlink()
    expected = [folder / "actions.schema.json", folder / "features.schema.json"]
    assert stale_schemas(tmp_path, write=False) == expected
    assert stale_schemas(tmp_path, write=True) == expected
    assert stale_schemas(tmp_path, write=False) == []
