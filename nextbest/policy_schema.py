"""The JSON Schema of each policy file: what an editor needs to complete, explain and underline as a person types.

Belongs here: making schemas from the model. Does not belong here: the fields and their descriptions
(`nextbest.policy_document`), or writing the files (`nextbest.adapters.policy_schemas`).
"""

from typing import Any

from nextbest.policy_parts import MODELS

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, dict[str, Any]]:
    """By the name of a policy file, its JSON Schema; keys are always in the same order."""
    return {name: {"$schema": _DIALECT, **model.model_json_schema()} for name, model in MODELS.items()}


def modeline(name: str) -> str:
    """The first line of a policy file, by which editors find its schema."""
    return f"# yaml-language-server: $schema=schema/{name}.schema.json\n"
