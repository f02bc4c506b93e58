"""What is personal, where it goes, what for and how long it stays: for whoever answers to the people it is about.

Belongs here: from classifications and lineage to a page, and to the same for a program. Does not belong here: which
files there are (`orchestration.generation`).
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from nextbest.contracts import Contract, Field
from nextbest.lineage import Column, Lineage
from orchestration.contract_pages import owners, table

_STAGED: Final = "stg_"
_ENDS: Final = ("dbt model", "feature view", "model", "policy", "event log")
_MEANINGS: Final = (
    "**pii** identifies a person and stays in the landing and its own staging model; **pseudonymous** tells one person"
    " from another without saying who; **personal** describes one."
)


def page(contracts: Mapping[str, Contract], lineage: Lineage) -> str:
    """Every classified field, its readers, purposes and retention, in Markdown."""
    parts = [
        "# Personal data",
        _MEANINGS,
        table(["field", "classification", "purposes", "kept for", "meaning"], _rows(contracts)),
        "## Where it goes",
        table(["field", "dbt models", "feature views", "models", "policies", "event log"], _ways(contracts, lineage)),
        "## How long the rest stays",
        table(
            ["contract", "kept for", "purposes"],
            [
                [f"[{name}]({name}.md)", _kept(each), ", ".join(each.purposes)]
                for name, each in sorted(contracts.items())
            ],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def policy(contracts: Mapping[str, Contract], lineage: Lineage, mark: str) -> str:
    """The same as JSON: `fields`, each with its contract, purposes, `retention_days` and `readers`."""
    fields = [
        {
            "contract": contract.name,
            "field": field.name,
            "classification": field.classification,
            "owner": contract.owner,
            "purposes": list(contract.purposes),
            "retention_days": contract.retention_days,
            "readers": _by_kind(lineage.consumers(contract.name, field.name)),
        }
        for contract, field in _classified(contracts)
    ]
    retention = {name: each.retention_days for name, each in sorted(contracts.items())}
    return json.dumps({"$comment": mark, "retention_days": retention, "fields": fields}, indent=2) + "\n"


def leaks(contracts: Mapping[str, Contract], lineage: Lineage) -> list[tuple[str, Column]]:
    """Each "contract.field" that identifies a person, with each column beyond staging that is made of it."""
    return [
        (f"{contract.name}.{field.name}", reader)
        for contract, field in _classified(contracts)
        if field.is_pii
        for reader in lineage.consumers(contract.name, field.name)
        if reader.kind != "dbt model" or not reader.owner.startswith(_STAGED)
    ]


def _classified(contracts: Mapping[str, Contract]) -> Iterator[tuple[Contract, Field]]:
    for _, contract in sorted(contracts.items()):
        for field in contract.fields:
            if field.classification:
                yield contract, field


def _rows(contracts: Mapping[str, Contract]) -> Iterator[list[str]]:
    for contract, field in _classified(contracts):
        purposes = ", ".join(contract.purposes)
        yield [_link(contract, field), str(field.classification), purposes, _kept(contract), field.description]


def _ways(contracts: Mapping[str, Contract], lineage: Lineage) -> Iterator[list[str]]:
    for contract, field in _classified(contracts):
        readers = lineage.consumers(contract.name, field.name)
        yield [_link(contract, field), *(", ".join(f"`{each}`" for each in owners(readers, kind)) for kind in _ENDS)]


def _by_kind(readers: tuple[Column, ...]) -> dict[str, Any]:
    return {kind: found for kind in _ENDS if (found := owners(readers, kind))}


def _link(contract: Contract, field: Field) -> str:
    return f"[{contract.name}]({contract.name}.md).`{field.name}`"


def _kept(contract: Contract) -> str:
    return f"{contract.retention_days:,} days" if contract.retention_days else "not limited"
