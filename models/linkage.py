"""Which customers are one person: a Fellegi-Sunter model of what was written with their identifiers (Splink, DuckDB).

Belongs here: which columns are compared and how, which pairs are looked at, learning without labels, and the links that
follow. Does not belong here: what becomes of them (`nextbest.links`), or where records come from. It runs in memory,
and what leaves it holds ids and levels of agreement, no names.

Fellegi and Sunter, "A Theory for Record Linkage", JASA 1969; parameters by expectation maximisation, as Winkler 1988.
The same records give the same links to the last digit: one thread, since sums of floats depend on their order.
"""

import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

import duckdb
import pyarrow as pa
import splink.comparison_level_library as levels
from splink import DuckDBAPI, Linker, SettingsCreator, block_on
from splink.blocking_rule_library import And, CustomRule
from splink.comparison_library import CustomComparison
from splink.internals.blocking_rule_creator import BlockingRuleCreator
from splink.internals.comparison_level_creator import ComparisonLevelCreator
from splink.internals.exceptions import SplinkException
from splink.internals.splink_dataframe import SplinkDataFrame

from models.errors import TooLittleDataError
from nextbest.links import REVIEW_FROM, Contribution, Proposal, pair_of

COLUMNS: Final = ("given_name", "surname", "birth_date", "house_number", "street", "city", "postcode", "region")
"""What is compared; a record is a row of these and `customer_id`."""
LEAST_SURE_PAIRS: Final = 20
"""Without so many pairs that nobody doubts, what one person's records look like would be learned from chance."""

_SEED: Final = 1
_SAMPLED_PAIRS: Final = 2e5
_SURE: Final = (
    ("given_name", "surname", "birth_date"),
    ("surname", "birth_date", "postcode"),
    ("given_name", "street", "city"),
)
"""Pairs that agree on all columns of one of these are sure enough to count how many there may be in all."""
_SURE_RECALL: Final = 0.6
"""The share of all true pairs that these are taken to find; within 0.4 and 0.9 hardly any link depends on it."""
_LEARN_WITHIN: Final = (("birth_date",), ("given_name", "surname"), ("house_number", "postcode"))
"""Pairs to learn from: each set says nothing of its own columns, and is rich in true pairs."""
_YEAR: Final = "substr(birth_date, 1, 4)"
_DAY: Final = "substr(birth_date, 5)"
_GIVEN: Final = "substr(given_name, 1, 3)"
_SURNAME: Final = "substr(surname, 1, 3)"
# What agrees on one of these is looked at. Each leaves most columns free to be wrong: a true pair is missed only when
# it differs in all of them at once.
_CANDIDATES: Final = (
    ("given_name", "surname"),
    ("birth_date",),
    ("street",),
    ("house_number", "postcode"),
    ("house_number", "city"),
    ("given_name", "postcode"),
    ("surname", "postcode"),
    ("given_name", "city"),
    ("surname", "city"),
    (_GIVEN, _SURNAME),
    (_GIVEN, _YEAR),
    (_SURNAME, _YEAR),
    ("given_name", _DAY),
    ("surname", _DAY),
    ("postcode", _YEAR),
)
_SWAPPED: Final = "l.given_name = r.surname AND l.surname = r.given_name"
_OTHERS: Final = "l.customer_id <> r.customer_id"
_RULES: Final = tuple(dict.fromkeys((*_SURE, *_LEARN_WITHIN, *_CANDIDATES)))
_MOST_ALIKE: Final = 300
"""Records that agree on a rule: of more, such as all with a placeholder for a name, every two would be looked at."""
# Expectation maximisation ends where no parameter moves by this, which is less than a sample of true pairs varies. What
# only pairs of two people show goes to 0 faster and faster; Splink refuses a 0, and so we take fewer steps then.
_CONVERGED: Final = 0.001
_ITERATIONS: Final = (25, 4, 2, 1)
_SHARE_FILLED: Final = 0.01
_DIGITS_TOLD: Final = 9
# A level that no pair showed is rare, not impossible: so many pairs, most of which agree, are added to those seen.
_ADDED_PAIRS: Final = 10
_ADDED_AGREE: Final = 0.8

# Case, accents, blanks and the way a date is written are no differences between people.
_NORMAL = """
CREATE TABLE records AS
SELECT row_number() OVER (ORDER BY customer_id, {names}) AS unique_id, *, {rare}
FROM (SELECT DISTINCT customer_id, {columns} FROM landed) WHERE coalesce({names}) IS NOT NULL
"""
_TEXT = "nullif(regexp_replace(trim(lower(strip_accents({name}))), '\\s+', ' ', 'g'), '') AS {name}"
_DIGITS = "nullif(regexp_replace({name}, '[^0-9]', '', 'g'), '') AS {name}"


@dataclass(frozen=True, slots=True)
class _Compared:
    """How a column is compared: levels of agreement in words, best first; what is in none of them differs."""

    column: str
    words: tuple[str, ...]
    levels: tuple[ComparisonLevelCreator, ...]

    @property
    def comparison(self) -> CustomComparison:
        missing, differs = levels.NullLevel(self.column), levels.ElseLevel()
        return CustomComparison([missing, *self.levels, differs], output_column_name=self.column)

    def contribution(self, row: Mapping[str, Any]) -> Contribution:
        """What a pair of records says in this column; Splink counts levels from 0 (differs) upwards, -1 is missing."""
        level = row[f"gamma_{self.column}"]
        word = "missing" if level < 0 else (*self.words, "differs")[len(self.words) - level]
        weight = row[f"mw_{self.column}"] + row.get(f"mw_tf_adj_{self.column}", 0.0)
        return Contribution(self.column, word, round(weight, _DIGITS_TOLD))


def _name(column: str, other: str) -> _Compared:
    """A name: rare ones that agree say more than frequent ones, and given name and surname may be swapped."""
    swapped = levels.CustomLevel(f"{column}_l = {other}_r OR {column}_r = {other}_l", "in the other column")
    return _similar(column, swapped)


def _similar(column: str, *swapped: ComparisonLevelCreator) -> _Compared:
    """A text in which letters are wrong, by Jaro and Winkler's similarity."""
    close, near = levels.JaroWinklerLevel(column, 0.92), levels.JaroWinklerLevel(column, 0.8)
    words = ("the same", *["swapped" for _ in swapped], "nearly the same", "similar")
    return _Compared(column, words, (_same(column), *swapped, close, near))


def _digits(column: str, most: int) -> _Compared:
    """A number or code, by the characters that are wrong or change places (Damerau and Levenshtein)."""
    wrong = range(1, most + 1)
    words = ("the same", *[f"{count} character{'s' if count > 1 else ''} off" for count in wrong])
    return _Compared(
        column, words, (_same(column), *[levels.DamerauLevenshteinLevel(column, count) for count in wrong])
    )


def _same(column: str) -> ComparisonLevelCreator:
    return levels.ExactMatchLevel(column, term_frequency_adjustments=True)


_COMPARED: Final = (
    _name("given_name", "surname"),
    _name("surname", "given_name"),
    _digits("birth_date", most=2),
    _digits("house_number", most=1),
    _similar("street"),
    _similar("city"),
    _digits("postcode", most=1),
    _Compared("region", ("the same",), (_same("region"),)),
)


def propose(records: pa.Table, least: float = REVIEW_FROM) -> tuple[Proposal, ...]:
    """Pairs of customers that are one person with a probability of `least` at least, most probable first.

    Args:
        records: `customer_id` and some or all of `COLUMNS`, as text; several rows per customer may differ. Rows of one
            customer are never proposed to be one person: they are.
        least: probability from which a pair is told.

    Raises:
        TooLittleDataError: too few pairs agree so well that one could learn from them; the message says how many.

    """
    with closing(duckdb.connect()) as connection:
        connection.execute("SET threads = 1")
        _prepare(connection, records)
        filled = _filled(connection)
        if not filled:
            raise TooLittleDataError("no row of identities says who gave it: there is nothing to compare")
        sure = _sure_pairs(connection, filled)
        if sure < LEAST_SURE_PAIRS:
            raise TooLittleDataError(
                f"{sure} pairs of customers agree on name and birth date or address, and it takes {LEAST_SURE_PAIRS} "
                "to learn what else one person's records have in common"
            )
        return _proposals(connection, filled, sure, least)


def _prepare(connection: duckdb.DuckDBPyConnection, records: pa.Table) -> None:
    """Records as they are compared: in lower case, each once per customer, numbered in an order of their own."""
    landed = records.select(["customer_id"])
    for name in COLUMNS:
        known = records[name] if name in records.column_names else pa.nulls(records.num_rows)
        landed = landed.append_column(name, known.cast(pa.string()))
    connection.register("landed", landed)
    columns = [(_DIGITS if name == "birth_date" else _TEXT).format(name=name) for name in COLUMNS]
    rare = [f"count(*) OVER (PARTITION BY {', '.join(each)}) <= {_MOST_ALIKE} AS {_rare(each)}" for each in _RULES]
    connection.execute(_NORMAL.format(columns=", ".join(columns), names=", ".join(COLUMNS), rare=", ".join(rare)))


def _filled(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The columns that have something to compare."""
    shares = ", ".join(f"coalesce(count({name}) / count(*), 0)" for name in COLUMNS)
    [found] = connection.execute(f"SELECT {shares} FROM records").fetchall()  # noqa: S608  names of our own columns
    return [name for name, share in zip(COLUMNS, found, strict=True) if share >= _SHARE_FILLED]


def _sure_pairs(connection: duckdb.DuckDBPyConnection, filled: list[str]) -> int:
    """How many pairs nobody doubts."""
    pairs = [
        f"SELECT l.unique_id, r.unique_id FROM records AS l JOIN records AS r USING ({', '.join(each)}) "  # noqa: S608  names of our own columns
        f"WHERE l.unique_id < r.unique_id AND {_OTHERS} AND l.{_rare(each)}"
        for each in _usable(_SURE, filled)
    ]
    if not pairs:
        return 0
    [(count,)] = connection.execute(f"SELECT count(*) FROM ({' UNION '.join(pairs)})").fetchall()  # noqa: S608
    return int(count)


def _usable(rules: Iterable[tuple[str, ...]], filled: list[str]) -> list[tuple[str, ...]]:
    """The rules that ask for nothing that is not there."""
    return [each for each in rules if not any(name in part for name in set(COLUMNS) - set(filled) for part in each)]


def _proposals(
    connection: duckdb.DuckDBPyConnection, filled: list[str], sure: int, least: float
) -> tuple[Proposal, ...]:
    compared = [each for each in _COMPARED if each.column in filled]
    prior, true_pairs = _prior(connection, sure)
    settings = SettingsCreator(
        link_type="dedupe_only",
        comparisons=[each.comparison for each in compared],
        blocking_rules_to_generate_predictions=_candidates(filled),
        probability_two_random_records_match=prior,
        em_convergence=_CONVERGED,
        additional_columns_to_retain=["customer_id"],
        retain_intermediate_calculation_columns=True,
    )
    records = DuckDBAPI(connection).register("records")
    learned = _learned(records, settings, _usable(_LEARN_WITHIN, filled))
    _temper(learned, true_pairs, true_pairs / prior)
    linker = Linker(records, learned, log_level=logging.ERROR)
    found = linker.inference.predict(threshold_match_probability=least).as_record_list()
    return tuple(_told(found, compared, math.log2(prior / (1 - prior))))


def _learned(records: SplinkDataFrame, settings: SettingsCreator, within: list[tuple[str, ...]]) -> dict[str, Any]:
    """What agrees how often by chance, and what between records of one person; settings with these in them."""
    sampler = Linker(records, settings, log_level=logging.ERROR)
    sampler.training.estimate_u_using_random_sampling(_SAMPLED_PAIRS, seed=_SEED)
    sampled = sampler.misc.save_model_to_json()
    for iterations in _ITERATIONS:
        learner = Linker(records, sampled | {"max_iterations": iterations}, log_level=logging.ERROR)
        try:
            for each in within:
                learner.training.estimate_parameters_using_expectation_maximisation(_rule(each))
        except (ValueError, SplinkException):
            continue
        return learner.misc.save_model_to_json()
    raise TooLittleDataError("the records of customers that agree are too different to learn from them")


def _prior(connection: duckdb.DuckDBPyConnection, sure: int) -> tuple[float, float]:
    """How probable it is that two records are one person's, and how many pairs that makes."""
    [(count,)] = connection.execute("SELECT count(*) FROM records").fetchall()
    true_pairs, pairs = sure / _SURE_RECALL, count * (count - 1) / 2
    return min(true_pairs / pairs, 0.5), true_pairs


def _candidates(filled: list[str]) -> list[BlockingRuleCreator | dict[str, Any]]:
    rules = [_rule(each) for each in _usable(_CANDIDATES, filled)]
    return [*rules, And(CustomRule(_SWAPPED), CustomRule(f"{_OTHERS} AND l.{_rare(('given_name', 'surname'))}"))]


def _rule(parts: tuple[str, ...]) -> BlockingRuleCreator:
    """Pairs of records of different customers that have the same in each part."""
    return And(block_on(*parts), CustomRule(f"{_OTHERS} AND l.{_rare(parts)}"))


def _rare(parts: tuple[str, ...]) -> str:
    """The column that says whether few enough records agree in each part with this one."""
    return f"rare_{_RULES.index(parts)}"


def _temper(learned: dict[str, Any], true_pairs: float, pairs: float) -> None:
    """Keep what few pairs showed from being taken for certain.

    To the pairs learned from a few are added, so that what none of them showed is rare and not impossible; and a worse
    level of agreement speaks no louder than a better one, however seldom it was seen by chance.
    """
    for comparison in learned["comparisons"]:
        told = [level for level in comparison["comparison_levels"] if not level.get("is_null_level")]
        most = math.inf
        for position, level in enumerate(told):
            expected = _ADDED_AGREE if position == 0 else (1 - _ADDED_AGREE) / (len(told) - 1)
            seen = _number(level.get("m_probability"))
            m = (seen * true_pairs + expected * _ADDED_PAIRS) / (true_pairs + _ADDED_PAIRS)
            u = max(_number(level.get("u_probability")), 1 / pairs, m / most)
            level["m_probability"], level["u_probability"] = m, u
            most = m / u


def _number(said: object) -> float:
    """A probability; Splink has words for a level that no pair showed."""
    return said if isinstance(said, float) else 0.0


def _told(found: list[dict[str, Any]], compared: list[_Compared], prior: float) -> Iterator[Proposal]:
    """A pair of customers once, by the two of their records that agree best."""
    told = set()
    for row in sorted(found, key=lambda row: (-row["match_weight"], row["customer_id_l"], row["customer_id_r"])):
        pair = pair_of(row["customer_id_l"], row["customer_id_r"])
        if pair in told:
            continue
        told.add(pair)
        yield Proposal(
            *pair,
            probability=round(row["match_probability"], _DIGITS_TOLD),
            weight=round(row["match_weight"], _DIGITS_TOLD),
            contributions=(
                Contribution("prior", "any two records", round(prior, _DIGITS_TOLD)),
                *(each.contribution(row) for each in compared),
            ),
        )
