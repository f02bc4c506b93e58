"""The schemas of policy files beside the policy, in `schema/`, for editors.

Belongs here: which files there are, and whether they are up to date. Does not belong here: what is in them
(`nextbest.policy_schema`).
"""

import json
from pathlib import Path

from nextbest.policy_schema import schemas


def stale_schemas(policies: Path, *, write: bool) -> list[Path]:
    """The files of schemas that are not up to date, which they are afterwards with `write`."""
    stale = [(path, text) for path, text in _texts(policies).items() if not path.is_file() or path.read_text() != text]
    if write:
        for path, text in stale:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    return [path for path, _ in stale]


def _texts(policies: Path) -> dict[Path, str]:
    return {
        policies / "schema" / f"{name}.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for name, schema in schemas().items()
    }
