"""Queries as a source: what each reads, in which order they run, and what is said of one that cannot."""

from pathlib import Path

import pyarrow as pa
import pytest

from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.landing import Door
from nextbest.adapters.mappings import MappingError, Mappings
from nextbest.adapters.sources import load_source
from nextbest.settings import Settings
from nextbest.source import DerivedSource

CONTRACT = """\
apiVersion: v3.1.0
kind: DataContract
id: test.{name}
name: {name}
version: 1.0.0
status: active
description: {{purpose: Test.}}
team: {{name: test}}
schema:
  - name: {name}
    properties:
      - {{name: id, logicalType: string, physicalType: VARCHAR{more}}}
"""


class Shop:
    """A home with three contracts: `raw`, and `sales` that refer to `buyers`."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home, source="mappings")
        self.folder = home / "mappings"
        for folder in (self.folder, home / "data_contracts"):
            folder.mkdir()
        for name, more in (("raw", ""), ("buyers", ""), ("sales", ", relationships: [{to: buyers.id}]")):
            (home / "data_contracts" / f"{name}.odcs.yaml").write_text(CONTRACT.format(name=name, more=more))
        self.write("buyers", "SELECT id FROM raw")
        self.write("sales", 'WITH raw_ids AS (SELECT id FROM "raw")\nSELECT id FROM raw_ids ORDER BY id DESC')

    def write(self, contract: str, sql: str) -> None:
        (self.folder / f"{contract}.sql").write_text(sql)

    def land(self, *ids: str) -> None:
        promises = load_contracts(self.settings.folder("contracts"))
        door = Door(self.settings.landing, self.settings.quarantine, promises)
        door.land("raw", pa.table({"id": list(ids)}), source_name="test")

    @property
    def source(self) -> Mappings:
        return Mappings(self.settings)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_its_setting_has_a_word(shop: Shop) -> None:
    """And says what its rows are made of."""
    source = load_source(shop.settings)
    assert isinstance(source, Mappings)
    assert isinstance(source, DerivedSource)


def test_references_and_what_is_read_come_first(shop: Shop) -> None:
    """Names of its own are no tables."""
    assert shop.source.contracts() == ["buyers", "sales"]
    assert shop.source.reads("sales") == ["raw"]
    shop.write("buyers", "SELECT id FROM sales")
    with pytest.raises(MappingError, match=r"these need one another: .*buyers"):
        shop.source.contracts()


def test_rows_are_those_of_what_landed(shop: Shop) -> None:
    """In an order of their own, so that the same rows are the same delivery."""
    shop.land("b", "a")
    assert shop.source.read("sales").to_pydict() == {"id": ["a", "b"]}


def test_a_fingerprint_changes_with_the_query_and_with_what_it_reads(shop: Shop) -> None:
    """And with nothing else."""
    shop.land("a")
    before = shop.source.fingerprint("sales")
    shop.write("buyers", "SELECT id FROM raw WHERE id <> 'x'")
    assert shop.source.fingerprint("sales") == before
    shop.land("a", "b")
    landed = shop.source.fingerprint("sales")
    shop.write("sales", "SELECT id FROM raw")
    assert len({before, landed, shop.source.fingerprint("sales")}) == 3


def test_comments_alone_are_no_query(shop: Shop) -> None:
    """A template is not used; a folder of templates supplies nothing, and says so."""
    shop.write("sales", "-- SELECT … AS id\n")
    assert shop.source.contracts() == ["buyers"]
    shop.write("buyers", "")
    with pytest.raises(MappingError, match="holds no query"):
        shop.source.contracts()


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT id\nFROM raw\nWHERE = 1", r"mappings/sales.sql:3: Parser Error"),
        ("SELECT id FROM raw; SELECT 2", r"mappings/sales.sql is no query: it takes one SELECT"),
        ("CREATE TABLE x (id TEXT)", r"mappings/sales.sql is no query: it takes one SELECT"),
        ("SELECT id FROM rwa", r"mappings/sales.sql: there is no contract rwa in data_contracts/"),
    ],
)
def test_a_query_that_cannot_be_used_is_named_at_load(shop: Shop, sql: str, message: str) -> None:
    """With file and line."""
    shop.write("sales", sql)
    with pytest.raises(MappingError, match=message):
        shop.source.contracts()


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT\n    di AS id\nFROM raw", r'sales.sql:2: .*"di" not found'),
        ("SELECT CAST(id AS INT) AS id\nFROM raw", r"sales.sql:1: Conversion Error"),
        ("SELECT id FROM read_csv('/etc/hosts')", r"sales.sql.*file system operations are disabled"),
    ],
)
def test_a_query_that_fails_names_the_place(shop: Shop, sql: str, message: str) -> None:
    """What only its rows or names can tell is said when it runs; it reads no file."""
    shop.land("a")
    shop.write("sales", sql)
    with pytest.raises(MappingError, match=message):
        shop.source.read("sales")


def test_a_query_over_nothing_says_what_to_land(shop: Shop) -> None:
    """The command is in the message."""
    with pytest.raises(MappingError, match="reads raw, of which nothing has landed: nextbest ingest raw FILE"):
        shop.source.read("sales")


def test_a_query_of_no_contract_is_named(shop: Shop) -> None:
    """A mistyped file name would otherwise be skipped."""
    shop.write("slaes", "SELECT 1 AS id")
    with pytest.raises(MappingError, match=r"mappings/slaes.sql: there is no contract slaes"):
        shop.source.contracts()


def test_a_query_in_another_encoding_is_named(shop: Shop) -> None:
    """An editor of old may save it so."""
    (shop.folder / "sales.sql").write_bytes("-- Käse".encode("latin-1"))
    with pytest.raises(MappingError, match=r"mappings/sales.sql is not UTF-8"):
        shop.source.contracts()
