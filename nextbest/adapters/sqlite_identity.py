"""Who is one, on SQLite: the ties and groups of the graph, inside the transaction of State that changes them.

Belongs here: reading the nodes that a change needs, and writing what becomes of them. Does not belong here: which ties
hold and how far they reach (`nextbest.identity`), or what is kept under a name (`nextbest.adapters.sqlite_state`).
"""

import sqlite3
from collections.abc import Collection, Sequence

import msgspec

from nextbest import identity
from nextbest.adapters import sqlite_state_sql as sql
from nextbest.identity import TIES_READ, Alter, Limits, NamesTied, Node, Tie


def tie(connection: sqlite3.Connection, said: Sequence[NamesTied], limits: Limits) -> None:
    """All this was said of names; what was said before changes nothing."""
    new = [each for each in said if (kept := _kept(connection, each)) | each.tie != kept]
    if new:
        names = {name for each in new for name in (each.one, each.other)}
        _regroup(connection, names, limits, identity.joining(new))
    for each in new:
        ends = ((each.one, each.other), (each.other, each.one))
        connection.executemany(sql.TIE, [(*end, *msgspec.structs.astuple(each.tie)) for end in ends])


def forget(connection: sqlite3.Connection, names: Collection[str], limits: Limits) -> None:
    """Nothing was ever said of `names`."""
    near = {end for name in names for (end,) in connection.execute(sql.NEIGHBOURS, (name,))}
    _regroup(connection, near | {*names}, limits, identity.leaving(names))
    for name in names:
        for statement in sql.UNTIE:
            connection.execute(statement, {"name": name})


def _regroup(connection: sqlite3.Connection, touched: Collection[str], limits: Limits, alter: Alter) -> None:
    regrouping = identity.regroup(touched, limits, alter)
    wanted = next(regrouping)
    try:
        while True:
            wanted = regrouping.send({name: _node(connection, name) for name in wanted})
    except StopIteration as end:
        customers: dict[str, str | None] = end.value
    connection.executemany(sql.LEAVE, [(name,) for name in customers])
    connection.executemany(sql.JOIN, [each for each in customers.items() if each[1]])


def _kept(connection: sqlite3.Connection, said: NamesTied) -> Tie:
    found = connection.execute(sql.TIED, (said.one, said.other)).fetchone()
    return Tie(*found) if found else Tie()


def _node(connection: sqlite3.Connection, name: str) -> Node:
    most = TIES_READ if identity.is_identifier(name) else -1
    ties = {end: Tie(*said) for end, *said in connection.execute(sql.TIES, (name, most))}
    return Node(ties=ties, group=tuple(each for (each,) in connection.execute(sql.GROUP, (name,))))
