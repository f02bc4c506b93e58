"""Who reads which field of which contract, found in what reads it: SQL, feature views, models and policies.

Belongs here: putting the graph of columns together. Does not belong here: what is asked of it (`nextbest.lineage`), or
how a query is followed (`orchestration.sql_lineage`).

Nothing is declared by hand: dbt says what each query is, Feast what its views hold, the models their features and the
marts of their labels, the policy what its rules name. It takes seconds, so the graph is kept until one of them changes.
"""

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from models.inputs import READINGS, SCORES_VIEW
from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.mappings import FOLDER, Mappings
from nextbest.adapters.policy_files import FILES, read_document
from nextbest.contracts import Contract
from nextbest.expressions import compile_expression
from nextbest.intake import TYPES
from nextbest.lineage import Column, Kind, Lineage
from nextbest.live import LIVE_STATE, READS
from nextbest.live_features import PREFIX
from nextbest.policy_compiler import rule_features
from nextbest.policy_document import PolicyDocument
from nextbest.settings import Settings
from orchestration.dbt import compiled_models
from orchestration.sql_lineage import ROWS, LineageError, Reads, reads
from orchestration.unchanged import code_digest, digest, file_digest

Edge = tuple[Column, Column]
"""What is read, and what reads it."""

_FILENAME = "filename"
"""DuckDB's own column: the file a row came from."""
_KEPT = msgspec.json.Decoder(list[tuple[Column, list[Column]]])


def read_lineage(settings: Settings, before: Mapping[str, Contract] | None = None) -> Lineage:
    """The graph of a home as it is now.

    Args:
        settings: the home.
        before: contracts of an earlier time, whose fields count too where the contracts of now have them no more: what
            reads them cannot be followed otherwise, and is what a change of contracts hits.

    Raises:
        DbtError: dbt cannot compile the project.
        LineageError: a query cannot be followed, or the feature repository cannot be read.
        PolicyError, ContractError: the policy or a contract cannot be read.

    """
    contracts = _with_former_fields(load_contracts(settings.folder("contracts")), before or {})
    kept = settings.state / "lineage" / f"{_version(settings, contracts)}.json"
    if not kept.is_file():
        readers: dict[Column, set[Column]] = defaultdict(set)
        for column, reader in _edges(settings, contracts):
            readers[column].add(reader)
        content = msgspec.json.encode([(column, sorted(found)) for column, found in sorted(readers.items())])
        kept.parent.mkdir(parents=True, exist_ok=True)
        draft = kept.with_suffix(f".{os.getpid()}")
        draft.write_bytes(content)
        draft.rename(kept)
    return Lineage(dict(_KEPT.decode(kept.read_bytes())))


def _with_former_fields(now: dict[str, Contract], before: Mapping[str, Contract]) -> dict[str, Contract]:
    contracts = {**before, **now}
    for name in now.keys() & before.keys():
        known = {field.name for field in now[name].fields}
        former = [field for field in before[name].fields if field.name not in known]
        contracts[name] = msgspec.structs.replace(now[name], fields=(*now[name].fields, *former))
    return contracts


def _version(settings: Settings, contracts: Mapping[str, Contract]) -> str:
    files = [settings.folder("policies") / f"{name}.yaml" for name in FILES]
    policies = [path for path in files if path.exists()]  # a policy may be without experiments
    dbt = settings.folder("dbt")
    mappings = sorted((settings.home / FOLDER).glob("*.sql"))
    sql = [path for path in dbt.rglob("*") if path.suffix in {".sql", ".yml"} and "target" not in path.parts]
    return digest(
        *(msgspec.json.encode(contracts[name]) for name in sorted(contracts)),
        *sorted(str(path.relative_to(dbt)) for path in sql),
        file_digest([*sql, *mappings, *policies, *settings.feature_repo.glob("*.py")]),
        code_digest(
            "models",
            "nextbest.intake",
            "nextbest.lineage",
            "nextbest.live",
            "orchestration.lineage",
            "orchestration.sql_lineage",
        ),
    )


def _edges(settings: Settings, contracts: Mapping[str, Contract]) -> Iterator[Edge]:
    yield from mapped(Mappings(settings).queries, contracts)
    models = _models_read(compiled_models(settings), contracts)
    yield from _queries(models, contracts)
    features = _described(settings)
    marts = {name: [column for column in found if column != ROWS] for name, found in models.items()}
    yield from _views(features["views"], marts)
    yield from _models(features, marts)
    yield from _policies(read_document(settings.folder("policies")), features["views"])
    yield from _log(contracts)
    yield from _live(features["views"], contracts)


def mapped(queries: Mapping[str, str], contracts: Mapping[str, Contract]) -> Iterator[Edge]:
    """Which fields of a home's own contracts its mappings make the fields of others of.

    Raises:
        LineageError: a mapping cannot be followed; the message names its file.

    """
    for target, sql in queries.items():
        try:
            found = reads(sql, _columns(contracts))
        except LineageError as error:
            raise LineageError(f"{FOLDER}/{target}.sql: {error}") from error
        for column, sources in found.items():
            for table, name in sources:
                if ROWS not in {column, name}:
                    yield Column("contract", table, name), Column("contract", target, column)


def _columns(contracts: Mapping[str, Contract]) -> dict[str, list[str]]:
    return {name: [field.name for field in each.fields] for name, each in contracts.items()}


def _models_read(models: Mapping[str, str], contracts: Mapping[str, Contract]) -> dict[str, Reads]:
    """What every dbt model reads, parents first, of which each knows the columns."""
    tables = {name: [*columns, _FILENAME] for name, columns in _columns(contracts).items()}
    found: dict[str, Reads] = {}
    for name, sql in models.items():
        try:
            found[name] = reads(sql, tables)
        except LineageError as error:
            raise LineageError(f"dbt model {name}: {error}") from error
        tables[name] = [column for column in found[name] if column != ROWS]
    return found


def _queries(models: Mapping[str, Reads], contracts: Mapping[str, Contract]) -> Iterator[Edge]:
    """A model's rows are a column of their own, without a name, where another model reads nothing else of it."""
    counted = {
        table for found in models.values() for sources in found.values() for table, name in sources if name == ROWS
    }
    for model, found in models.items():
        for column, sources in found.items():
            if column != ROWS or model in counted:
                for table, source in sources:
                    kind: Kind = "contract" if table in contracts else "dbt model"
                    if (kind, source) != ("contract", _FILENAME):
                        yield Column(kind, table, source), Column("dbt model", model, column)


def _views(views: Mapping[str, Sequence[str]], marts: Mapping[str, Sequence[str]]) -> Iterator[Edge]:
    """A view has the name of its mart; one without a mart is written by a model."""
    for view, names in views.items():
        for name in names:
            if view in marts:
                yield Column("dbt model", view, name), Column("feature view", view, name)


def _models(features: Mapping[str, Any], marts: Mapping[str, Sequence[str]]) -> Iterator[Edge]:
    """What a model is trained on: the features of its service that it takes, and its labels' marts; what it scores."""
    for model, reading in READINGS.items():
        asked = features["services"][reading.service] if reading.service else ()
        views = {view: features["views"][view] for view in asked}
        taken = reading.columns(name for names in views.values() for name in names)
        for view, names in views.items():
            for name in taken.intersection(names):
                yield Column("feature view", view, name), Column("model", model, name)
        for mart in (reading.labels, *reading.statistics):
            for name in marts[mart]:
                yield Column("dbt model", mart, name), Column("model", model, "")
        for name in ("", *taken):
            for score in reading.scores:
                yield Column("model", model, name), Column("feature view", SCORES_VIEW, score)


def _policies(policy: PolicyDocument, views: Mapping[str, Sequence[str]]) -> Iterator[Edge]:
    """Which features expressions may name, and which action's do."""
    actions = {action.id: action for action in policy.actions.actions}
    known = {feature.name for feature in rule_features(policy.features, actions) if feature.origin == "customer"}
    for view, names in views.items():
        for name in known.intersection(names):
            yield Column("feature view", view, name), Column("policy", "features", name)
        for name in sorted(known) if LIVE_STATE in names else ():
            if name.startswith(PREFIX):
                yield Column("feature view", view, LIVE_STATE), Column("policy", "features", name)
    for action in actions.values():
        amounts = [amount for amount in (action.value, action.cost) if isinstance(amount, str)]
        for expression in (*action.eligibility, *action.applicability, *action.suitability, *amounts):
            for name in compile_expression(expression).variables & known:
                yield Column("policy", "features", name), Column("policy", action.id, "")


def _log(contracts: Mapping[str, Contract]) -> Iterator[Edge]:
    """What the event log carries to the online state: whole rows, without what identifies a person."""
    for name in TYPES.keys() & contracts.keys():
        for field in contracts[name].fields:
            if not field.is_pii:
                yield Column("contract", name, field.name), Column("event log", name, field.name)


def _live(views: Mapping[str, Sequence[str]], contracts: Mapping[str, Contract]) -> Iterator[Edge]:
    """What live states are made of, from the log."""
    for view in (view for view, names in views.items() if LIVE_STATE in names):
        for name, columns in READS.items():
            known = {field.name for field in contracts[name].fields} if name in contracts else set()
            for column in known.intersection(columns):
                yield Column("event log", name, column), Column("feature view", view, LIVE_STATE)


def _described(settings: Settings) -> Any:
    """The views and services of the feature repository, as Feast understands it, from a process of its own."""
    done = subprocess.run(
        [sys.executable, Path("describe.py")],
        cwd=settings.feature_repo,
        env={**os.environ, **settings.environment(), "FEAST_USAGE": "False"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise LineageError(f"the feature repository cannot be read:\n{done.stderr.strip()}")
    return json.loads(done.stdout)
