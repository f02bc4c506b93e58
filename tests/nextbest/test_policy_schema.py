"""Schemas of the policy files: complete, small, and as strict as the model."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from nextbest.policy_parts import MODELS
from nextbest.policy_schema import modeline, schemas
from nextbest.settings import CHECKOUT

POLICIES = CHECKOUT / "policies"
FILES = sorted(path.stem for path in POLICIES.glob("*.yaml"))


def _properties(part: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(part, dict):
        yield from part.get("properties", {}).items()
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from _properties(each)


def test_every_field_is_described() -> None:
    """A strategist's editor has a sentence for every field of every file."""
    properties = list(_properties(schemas()))
    assert len(properties) > 80
    assert [name for name, each in properties if not each.get("description")] == []


@pytest.mark.parametrize("name", FILES)
def test_the_demos_files_are_as_their_schemas_say(name: str) -> None:
    """Each is valid, names its schema in its first line, and is not valid with a misspelt key."""
    text = (POLICIES / f"{name}.yaml").read_text()
    assert text.startswith(modeline(name))
    # As an editor reads it: YAML 1.2 has neither days nor times of day, both are text.
    read = MODELS[name].model_validate(yaml.safe_load(text))
    content = read.model_dump(mode="json", by_alias=True, exclude_unset=True)
    validator = Draft202012Validator(schemas()[name])
    validator.check_schema(schemas()[name])
    assert validator.is_valid(content)
    assert not validator.is_valid({**content, "misspelt": 1})


def test_schemas_are_small() -> None:
    """An editor loads them while somebody waits."""
    assert len(json.dumps(schemas())) < 200_000
