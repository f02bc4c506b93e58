"""A project of one's own, written as a folder: it appears whole, by one rename, or not at all.

Belongs here: reading the tables, asking the data what the drafts need, and putting the files in their places. Does not
belong here: guesses (`nextbest.guessing`, `nextbest.roles`) or the files' text (`nextbest.drafts`).
"""

import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import duckdb
import msgspec
import pyarrow as pa

from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.imports import is_database, label, read_table
from nextbest.adapters.mappings import FOLDER, run
from nextbest.adapters.policy_files import read_policy
from nextbest.contracts import Contract
from nextbest.drafts.contracts import contract_yaml, with_currency
from nextbest.drafts.mappings import MAPPED, Shop, counting_sql, mapping_sql, newest_sql
from nextbest.drafts.policies import (
    PLACEHOLDER,
    Seller,
    actions_yaml,
    arbitration_yaml,
    best,
    department_ids,
    experiments_yaml,
    features_yaml,
    mart_columns,
    placements_yaml,
    project_variables,
)
from nextbest.errors import NextbestError
from nextbest.guessing import GuessError, Guesses, guess
from nextbest.roles import Roles, assign
from nextbest.settings import Settings
from nextbest.validation import Validated, validate

_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
_BUILT: Final = ("target", "logs", "dbt_packages", ".user.yml")
_NOT_MAPPED: Final = {"decisions"}
"""What the event log alone delivers."""

# By category: its department, and what a basket that has it spends on it; the best-selling first.
_SELLERS: Final = """
WITH lines AS (
    SELECT p.category, p.department, t.basket_id, t.sales_value
    FROM transactions AS t JOIN products AS p USING (product_id)
    WHERE p.category IS NOT NULL
)
SELECT category, mode(department ORDER BY department), sum(sales_value) / count(DISTINCT basket_id)
FROM lines GROUP BY category ORDER BY sum(sales_value) DESC, category
"""
_DEPARTMENTS: Final = """
SELECT p.department FROM transactions AS t JOIN products AS p USING (product_id)
GROUP BY p.department ORDER BY sum(t.sales_value) DESC, p.department
"""


class ProjectError(NextbestError):
    """A project cannot be written; the message says what to change."""


class Imported(msgspec.Struct, frozen=True):
    """One table: where it came from, what it seems to be, and how it keeps the contract guessed from it."""

    location: str
    guesses: Guesses
    validated: Validated


class Project(msgspec.Struct, frozen=True):
    """What was written: the imported tables and what each mapped contract gets from them, by contract."""

    folder: Path
    imported: dict[str, Imported]
    roles: Roles
    mapped: dict[str, Validated]
    actions: list[str]


def write_project(folder: Path, locations: Mapping[str, str], shop: Shop) -> Project:
    """Write a project with a contract per table, mappings onto nextbest's contracts, a first policy and its SQL.

    Args:
        folder: to be made; it may be there, if it is empty.
        locations: where each table is, by the name of its contract.
        shop: what no table says.

    Raises:
        ProjectError: something is in the folder, or a name cannot be that of a contract.
        NextbestError: a table cannot be read. Nothing was written then.

    """
    checkout = Settings()  # whose own folders the project starts from, whatever the home of today
    own = load_contracts(checkout.folder("contracts"))
    _check(folder, locations, own)
    with _appearing(folder) as draft:
        _copy_contracts(checkout.folder("contracts"), draft / "data_contracts", shop.currency)
        imported = {name: _import(name, location, draft) for name, location in locations.items()}
        roles = assign({name: each.guesses for name, each in imported.items()})
        promises = load_contracts(draft / "data_contracts")
        tables = {name: each.validated.valid for name, each in imported.items()}
        facts = _facts(roles, shop, tables)
        queries = {n: mapping_sql(promises[n], roles, shop, **facts) for n in own if n not in _NOT_MAPPED}
        _write_all(draft / FOLDER, {f"{name}.sql": sql for name, sql in queries.items()})
        mapped = _map(queries, promises, tables) if roles.sales else {}
        actions = _write_policy(draft, checkout, shop.currency, *_best_selling(mapped))
        project = Project(folder, imported, roles, mapped, actions)
        _write_guide(draft, project)
    return project


def _check(folder: Path, locations: Mapping[str, str], own: Mapping[str, Contract]) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ProjectError(f"{folder} is there already, and nothing in it is overwritten: name a new folder")
    for name in locations:
        if not _NAME.fullmatch(name):
            raise ProjectError(f"{name!r} cannot be a contract's name: it takes a letter, then letters, digits and _")
        if name in own:
            raise ProjectError(f"{name} is a contract of nextbest's own: name yours otherwise, such as raw_{name}")


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """A folder to write into that takes its place at the end, if nothing went wrong until then."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as aside:
        draft = Path(aside) / folder.name
        draft.mkdir()
        yield draft
        try:
            draft.rename(folder)  # over an empty folder, and over nothing else
        except OSError as error:
            raise ProjectError(f"{folder} cannot be written: {error.strerror}") from error


def _copy_contracts(source: Path, target: Path, currency: str) -> None:
    target.mkdir()
    for path in source.glob("*.odcs.yaml"):
        (target / path.name).write_text(with_currency(path.read_text(), currency))


def _import(name: str, location: str, draft: Path) -> Imported:
    """Read a table, write its contract, and keep the rows as they would land under it."""
    table = read_table(location)
    try:
        guesses = guess(table)
    except GuessError as error:
        raise GuessError(f"{name} ({label(location)}): {error}") from error
    folder = draft / "data_contracts"
    (folder / f"{name}.odcs.yaml").write_text(contract_yaml(name, label(location), guesses))
    contract = load_contracts(folder)[name]
    return Imported(location, guesses, validate(msgspec.structs.replace(contract, min_rows=0), table))


def _write_all(folder: Path, texts: Mapping[str, str]) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)


def _map(
    queries: Mapping[str, str], promises: Mapping[str, Contract], tables: Mapping[str, pa.Table]
) -> dict[str, Validated]:
    """What the guessed queries yield, judged as the door will; references come first."""
    mapped: dict[str, Validated] = {}
    for name in MAPPED:
        rows = run(queries[name], tables, Path(FOLDER) / f"{name}.sql")
        references = [field.reference for field in promises[name].fields if field.reference]
        known = {each: mapped[each.split(".")[0]].valid[each.split(".")[1]].unique() for each in references}
        mapped[name] = validate(msgspec.structs.replace(promises[name], min_rows=0), rows, known)
    return mapped


def _facts(roles: Roles, shop: Shop, tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    """What a mapping's remarks say of the data: how many rows are left out, when the newest sale was."""
    if roles.sales is None:
        return {}
    path = Path(FOLDER)
    counts = run(counting_sql(roles.sales), tables, path).to_pylist()[0]
    [newest] = run(newest_sql(roles.sales, shop), tables, path).to_pylist()
    return {"counts": list(counts.values()), "newest": next(iter(newest.values()))}


def _best_selling(mapped: Mapping[str, Validated]) -> tuple[list[Seller], list[str]]:
    """The categories that can be actions and the departments, those with the most sales first."""
    if not mapped:
        return [], []
    with closing(duckdb.connect()) as con:
        for name, each in mapped.items():
            con.register(name, each.valid)
        sellers = [Seller(*row) for row in con.execute(_SELLERS).fetchall()]
        departments = [name for (name,) in con.execute(_DEPARTMENTS).fetchall()]
    return best(sellers), department_ids(departments)


def _write_policy(
    draft: Path, checkout: Settings, currency: str, sellers: Sequence[Seller], departments: Sequence[str]
) -> list[str]:
    """Write the policy, and the SQL project with the same names; returns the actions."""
    actions, departments = sorted(each.action for each in sellers) or [PLACEHOLDER], departments or ["all"]
    demo, policies = checkout.folder("policies"), draft / "policies"
    shutil.copytree(demo, policies)  # with the schemas that editors go by
    (policies / "actions.yaml").write_text(actions_yaml(sellers, currency))
    (policies / "placements.yaml").write_text(placements_yaml(currency))
    (policies / "experiments.yaml").write_text(experiments_yaml())
    _edit(policies / "arbitration.yaml", arbitration_yaml, currency)
    _edit(policies / "features.yaml", features_yaml, departments, currency)
    read_policy(policies)
    project = draft / "dbt_project"
    shutil.copytree(checkout.folder("dbt"), project, ignore=shutil.ignore_patterns(*_BUILT))
    marts = project / "models" / "marts"
    spend, share = f"Spend in {{member}} ({currency}).", "Part of the spend that went to {member}; 0 without spend."
    _edit(project / "dbt_project.yml", project_variables, actions, departments)
    _edit(marts / "category_affinity.yml", mart_columns, "category_spend_182d__", actions, spend)
    _edit(marts / "department_affinity.yml", mart_columns, "department_share_91d__", departments, share)
    return actions


def _edit(path: Path, change: Any, *arguments: Any) -> None:
    path.write_text(change(path.read_text(), *arguments))


def next_commands(project: Project) -> list[str]:
    """What to type to get from the new folder to decisions, in order."""
    landing = [
        f"nextbest ingest {name} {_typed(each.location)}"
        for name, each in project.imported.items()
        if each.guesses.rows
    ]
    return [f"source {shlex.quote(str(project.folder / 'env.sh'))}", *landing, "nextbest pipeline", "nextbest up"]


def _typed(location: str) -> str:
    return shlex.quote(label(location) if is_database(location) else str(Path(location).resolve()))


_ENVIRONMENT: Final = """\
# `source env.sh` in bash: this shell's nextbest works on this project, with the data that mappings/ supplies.
export NEXTBEST_HOME="$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")" && pwd)"
export NEXTBEST_SOURCE=mappings
"""
_IGNORED: Final = """\
.nextbest/
dbt_project/target/
dbt_project/logs/
dbt_project/dbt_packages/
dbt_project/.user.yml
"""
_GUIDE: Final = """\
# {title}

A project of nextbest, written by `nextbest init`. Every guess is marked `review`:

    grep -rn review data_contracts mappings policies

| folder | holds | review |
| --- | --- | --- |
| `data_contracts/` | a contract per table of yours ({tables}), and nextbest's own | types, keys and lists of yours |
| `mappings/` | a query per contract of nextbest over your tables; one of comments alone is not used | all of it |
| `policies/` | what can be proposed, to whom, how often | `actions.yaml`, `placements.yaml` |
| `dbt_project/` | features; `vars.actions` and `vars.departments` name what the policy names | when these change |

Then, in this order:

{commands}

A new delivery of a table is `nextbest ingest` again, and `nextbest pipeline`. Rows that break a contract are in
`.nextbest/quarantine/`, with the rule and the value. Nobody is contacted without a consent: deliver `consents`, by a
mapping or with `nextbest ingest`. With `contacts` and `outcomes` a model learns who responds; until then every
decision is the placement's fallback.
"""


def _write_guide(draft: Path, project: Project) -> None:
    commands = "\n".join(f"    {command}" for command in next_commands(project))
    tables = ", ".join(f"`{name}`" for name in project.imported)
    guide = _GUIDE.format(title=project.folder.name, tables=tables, commands=commands)
    _write_all(draft, {"env.sh": _ENVIRONMENT, ".gitignore": _IGNORED, "README.md": guide})
