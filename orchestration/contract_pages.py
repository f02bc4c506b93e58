"""A page per contract, for whoever delivers or reads the data: what is promised, and who relies on it.

Belongs here: from contracts and lineage to Markdown. Does not belong here: which files there are
(`orchestration.generation`), or what is personal (`orchestration.privacy`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from nextbest.contracts import Contract, OnViolation, Rule, RuleKind
from nextbest.lineage import Column, Kind, Lineage

Owner = tuple[Kind, str]

_KINDS: Final[Mapping[str, str]] = {
    "dbt model": "dbt models",
    "feature view": "feature views",
    "model": "models",
    "policy": "policies",
    "event log": "event log",
}
"""The kinds of consumers and how a table is headed that lists them; in this order, the way data goes."""
_RULES: Final[Mapping[RuleKind, str]] = {
    "required": "required",
    "unique": "unique",
    "enum": "one of {}",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "pattern": "matches {}",
    "min_length": "length at least {}",
    "max_length": "length at most {}",
    "reference": "is in {}",
}
_BREACHES: Final[Mapping[OnViolation, str]] = {"reject": "", "stop": " (else **stops**)", "warn": " (else **warns**)"}
_LEGEND: Final = (
    "A row that breaks a rule is rejected: it goes to quarantine and the rest lands. Where a rule **stops**, nothing of"
    " the delivery lands; where it **warns**, the row lands and is counted."
)


def page(contract: Contract, contracts: Mapping[str, Contract], lineage: Lineage) -> str:
    """The page of one contract, in Markdown; `contracts` are all there are, for links."""
    said = [contract.description, contract.granularity, contract.usage, contract.limitations]
    parts = [
        f"# {contract.name}",
        " ".join(filter(None, said[:2])),
        *([f"For: {contract.usage}"] if contract.usage else []),
        *([f"Limits: {contract.limitations}"] if contract.limitations else []),
        table(["", ""], _promises(contract)),
        "## Fields",
        _LEGEND,
        table(["field", "type", "rules", "classification", "meaning"], _fields(contract, contracts)),
        "## Who reads it",
        *_readers(contract, lineage),
    ]
    return "\n\n".join(parts) + "\n"


def index(contracts: Mapping[str, Contract]) -> str:
    """The page that leads to all others."""
    rows = [
        [f"[{name}]({name}.md)", each.version, each.owner, each.kind, each.description]
        for name, each in sorted(contracts.items())
    ]
    parts = [
        "# Contracts",
        "What comes in and goes out, as promised in `data_contracts/`, and who relies on it.",
        table(["contract", "version", "owner", "kind", "what it is"], rows),
        "What is personal, where it goes and how long it stays: [privacy](privacy.md).",
    ]
    return "\n\n".join(parts) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a cell's bars and line breaks do not end it."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def owners(columns: Iterable[Column], kind: str) -> list[str]:
    """The owners of one kind that have any of the columns, in their order, each once."""
    return list(dict.fromkeys(column.owner for column in columns if column.kind == kind))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _promises(contract: Contract) -> Iterator[list[str]]:
    yield ["version", contract.version]
    yield ["owner", contract.owner]
    when = (
        f"events, by `{contract.event_time}`" if contract.event_time else "snapshot: a delivery replaces the last one"
    )
    yield ["kind", when]
    yield ["key", _code(contract.key)]
    yield ["least rows", f"{contract.min_rows:,} in a delivery (else **stops**)" if contract.min_rows else "none"]
    if fresh := contract.freshness:
        newest = f"newest `{fresh.column}`" if fresh.column else "last delivery"
        yield ["freshness", f"{newest} at most {_days(fresh.days)} old{_BREACHES[fresh.on_violation]}"]
    if volume := contract.volume:
        usual = "median of the same weekday before" if contract.event_time else "last delivery"
        yield ["volume", f"rows within {volume.limit:.0%} of the {usual}{_BREACHES[volume.on_violation]}"]
    if drift := contract.drift:
        yield [
            "drift",
            f"each column's PSI against the rows before at most {drift.limit:g}{_BREACHES[drift.on_violation]}",
        ]
    if fair := contract.fairness:
        rate = f"no protected group's rate below {fair.selection_rate_ratio:g} of the highest"
        error = f"what it expects of one within {fair.calibration_error:.0%} of what came of it"
        whom = f"of the {fair.selected_share:.0%} of customers a model scores highest"
        yield ["fairness", f"{whom}: {rate}; {error} (else the model **stays out**)"]
    yield ["retention", _days(contract.retention_days) if contract.retention_days else "not limited"]
    yield ["purposes", ", ".join(contract.purposes) or "none"]


def _fields(contract: Contract, contracts: Mapping[str, Contract]) -> Iterator[list[str]]:
    for field in contract.fields:
        name = f"**`{field.name}`** (key)" if field.key else f"`{field.name}`"
        rules = ", ".join(_rule(rule, contracts) for rule in field.rules) or "may be missing"
        types = f"{field.type}, `{field.physical_type}`"
        classes = [field.classification or "", *(["protected"] if field.protected else [])]
        yield [name, types, rules, ", ".join(filter(None, classes)), field.description]


def _rule(rule: Rule, contracts: Mapping[str, Contract]) -> str:
    argument = _code(rule.argument if isinstance(rule.argument, tuple) else [str(rule.argument)])
    referred = str(rule.argument).partition(".")[0]
    if rule.kind == "reference" and referred in contracts:
        argument = f"[{argument}]({referred}.md)"
    return _RULES[rule.kind].format(argument) + _BREACHES[rule.on_violation]


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _days(days: int) -> str:
    return "1 day" if days == 1 else f"{days:,} days"


def _readers(contract: Contract, lineage: Lineage) -> Iterator[str]:
    edges = _edges(contract, lineage)
    if not edges:
        yield "Nobody yet."
        return
    yield _picture(edges)
    consumers = {field.name: lineage.consumers(contract.name, field.name) for field in contract.fields}
    kinds = [kind for kind in _KINDS if any(owners(columns, kind) for columns in consumers.values())]
    rows = [[f"`{name}`", *(_code(owners(columns, kind)) for kind in kinds)] for name, columns in consumers.items()]
    yield table(["field", *(_KINDS[kind] for kind in kinds)], rows)


def _edges(contract: Contract, lineage: Lineage) -> list[tuple[Owner, Owner]]:
    """Who reads whom, from the contract on, each pair once."""
    columns = [Column("contract", contract.name, field.name) for field in contract.fields]
    columns += lineage.consumers(contract.name)
    pairs = {
        ((column.kind, column.owner), (reader.kind, reader.owner))
        for column in columns
        for reader in lineage.readers.get(column, ())
    }
    return sorted((one, other) for one, other in pairs if one != other)


def _picture(edges: Sequence[tuple[Owner, Owner]]) -> str:
    nodes = sorted({owner for edge in edges for owner in edge})
    ids = {owner: f"n{number}" for number, owner in enumerate(nodes)}
    lines = ["```mermaid", "flowchart LR"]
    lines += [f'  {ids[kind, name]}["{kind}<br/>{name}"]' for kind, name in nodes]
    lines += [f"  {ids[one]} --> {ids[other]}" for one, other in edges]
    return "\n".join([*lines, "```"])
