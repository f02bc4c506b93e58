"""Which columns a query reads, for each column it gives.

Belongs here: one query of DuckDB's SQL and the columns of the tables it names. Does not belong here: where queries come
from, or who reads their result (`orchestration.lineage`).

A column is read when its value goes into the result, and also when it decides which rows do: in a join, a filter, a
group, a window, or where repeated rows are dropped. The latter counts for every column of the query (or of the CTE)
that it stands in, and of what reads that. What cannot be followed is an error: a reader that is overlooked would be
broken without a word.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, build_scope

from nextbest.errors import NextbestError

Source = tuple[str, str]
"""Table and column."""
Reads = dict[str, frozenset[Source]]

ROWS = ""
"""Instead of a column's name: which rows there are, as `count(*)` reads of a table without reading a column."""

_DIALECT = "duckdb"
_DECIDES_ROWS = ("joins", "where", "group", "having", "qualify", "order", "distinct", "laterals", "windows")
_NOT_FOLLOWED = (exp.Columns, exp.Pivot)


class LineageError(NextbestError):
    """A query cannot be followed; the message says which and why."""


def reads(sql: str, tables: Mapping[str, Sequence[str]]) -> Reads:
    """For each column of the query's result, in order, the columns of `tables` it is made of; under `ROWS` its rows'.

    Args:
        sql: one SELECT; a table's last name is what `tables` knows it by.
        tables: names of the columns of every table.

    Raises:
        LineageError: the query cannot be parsed, names a column that no table has, or says columns in a way that is
            not followed (`COLUMNS`, `PIVOT`, `NATURAL JOIN`).

    """
    try:
        tree = parse_one(sql, dialect=_DIALECT)
        _refuse_what_is_not_followed(tree)
        for table in tree.find_all(exp.Table):  # one name is enough: models of different layers have different ones
            table.set("db", None)
            table.set("catalog", None)
        schema: dict[str, object] = {name: dict.fromkeys(columns, "unknown") for name, columns in tables.items()}
        qualified = qualify(tree, schema=schema, dialect=_DIALECT, quote_identifiers=False)
        root = build_scope(qualified)
    except SqlglotError as error:
        raise LineageError(f"the lineage of a query cannot be read: {error}") from error
    if root is None:
        raise LineageError("the lineage of a query cannot be read: it is no SELECT")
    if any(select.is_star for each in root.traverse() for select in getattr(each.expression, "selects", ())):
        raise LineageError("the lineage of a query cannot be read: `*` of a table whose columns nobody knows")
    # In SQL a name is the same in capitals, and comes back without them.
    spelt = {(table.lower(), name.lower()): (table, name) for table, columns in tables.items() for name in columns}
    return {name: _once(spelt.get(each, each) for each in found) for name, found in _outputs(root, {}).items()}


def _once(found: Iterable[Source]) -> frozenset[Source]:
    """Without a table's rows where one of its columns is read, which implies them."""
    sources = frozenset(found)
    read = {table for table, name in sources if name != ROWS}
    return frozenset((table, name) for table, name in sources if name != ROWS or table not in read)


def _refuse_what_is_not_followed(tree: exp.Expr) -> None:
    found = next(tree.find_all(*_NOT_FOLLOWED), None) or next(
        (join for join in tree.find_all(exp.Join) if join.method == "NATURAL"), None
    )
    if found:
        raise LineageError(f"the lineage of a query cannot be read: name the columns instead of {found.sql(_DIALECT)}")


def _outputs(scope: Scope, known: dict[int, Reads]) -> Reads:
    """What each column of a scope reads, and its rows; a CTE that several scopes name is followed once."""
    if id(scope) not in known:
        known[id(scope)] = _set_operation(scope, known) if scope.set_operation_scopes else _select(scope, known)
    return known[id(scope)]


def _set_operation(scope: Scope, known: dict[int, Reads]) -> Reads:
    """The columns of a set operation, by position, under the names of its first query."""
    parts = [_outputs(each, known) for each in scope.set_operation_scopes]
    keeps_every_row = isinstance(scope.expression, exp.Union) and not scope.expression.args.get("distinct")
    rows = _all(part[ROWS] for part in parts) if keeps_every_row else _all(_all(part.values()) for part in parts)
    named = [{name: sources for name, sources in part.items() if name != ROWS} for part in parts]
    columns = zip(*(part.values() for part in named), strict=True)
    return {name: _all(each) | rows for name, each in zip(named[0], columns, strict=True)} | {ROWS: rows}


def _select(scope: Scope, known: dict[int, Reads]) -> Reads:
    rows = _rows(scope, known)
    columns = {each.alias_or_name: _columns([each], scope, known) | rows for each in _query(scope).selects}
    tables = {source.name for source in scope.sources.values() if isinstance(source, exp.Table) and source.name}
    return {name: found | _counted(tables, found) for name, found in (columns | {ROWS: rows}).items()}


def _rows(scope: Scope, known: dict[int, Reads]) -> frozenset[Source]:
    """What decides which rows a SELECT gives: its own clauses, and the rows of what it selects from."""
    select = _query(scope)
    parts = [part for key in _DECIDES_ROWS for part in _listed(select.args.get(key))]
    group = select.args.get("group")
    if group and group.args.get("all"):
        parts += [each for each in select.selects if not each.find(exp.AggFunc)]
    if select.args.get("distinct"):
        parts += select.selects
    inner = (_all(_outputs(each, known).values()) for each in scope.subquery_scopes)  # `exists` and `in` decide too
    queries = (each for each in scope.sources.values() if isinstance(each, Scope))
    sources = (_outputs(each, known)[ROWS] for each in queries if not isinstance(each.expression, exp.UDTF))
    return _columns(parts, scope, known).union(*inner, *sources)


def _counted(tables: Iterable[str], found: Iterable[Source]) -> frozenset[Source]:
    """The tables of whose rows alone something is made."""
    return frozenset((table, ROWS) for table in set(tables) - {table for table, _ in found})


def _query(scope: Scope) -> exp.Query:
    return cast("exp.Query", scope.expression)


def _all(parts: Iterable[frozenset[Source]]) -> frozenset[Source]:
    return frozenset().union(*parts)


def _listed(part: object) -> Iterable[exp.Expr]:
    return [each for each in (part if isinstance(part, list) else [part]) if isinstance(each, exp.Expr)]


def _columns(parts: Iterable[exp.Expr], scope: Scope, known: dict[int, Reads]) -> frozenset[Source]:
    """The columns of tables behind every column named in `parts`."""
    found: set[Source] = set()
    for part in parts:
        for column in part.find_all(exp.Column):
            found.update(_behind(column, scope, known))
    return frozenset(found)


def _behind(column: exp.Column, scope: Scope, known: dict[int, Reads]) -> Iterator[Source]:
    """The columns of tables behind one column of a scope's sources."""
    source = scope.sources.get(column.table)
    if isinstance(source, exp.Table) and source.name:
        yield source.name, column.name
    elif isinstance(source, exp.Table):  # a function that makes rows of values: generate_series
        yield from _columns([source], scope, known)
    elif isinstance(source, Scope) and isinstance(source.expression, exp.UDTF):
        yield from _columns([source.expression], scope, known)
    elif isinstance(source, Scope):
        yield from _outputs(source, known).get(column.name, ())
