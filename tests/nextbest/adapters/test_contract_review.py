"""Everything that is wrong with the contracts of a folder, with its file and line."""

import shutil
from pathlib import Path

import msgspec
import pytest

from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.contract_review import review, review_changes
from nextbest.compatibility import compare
from nextbest.contract_release import demands
from nextbest.findings import Finding
from nextbest.lineage import Lineage
from nextbest.settings import CHECKOUT

FOLDER = CHECKOUT / "data_contracts"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the contracts, free to break."""
    return Path(shutil.copytree(FOLDER, tmp_path / "data_contracts"))


def _edit(folder: Path, file: str, before: str, after: str) -> int:
    """Replace the first `before` in a file; returns its line."""
    path = folder / file
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    return text[: text.index(before)].count("\n") + 1


def test_the_contracts_of_the_demo_are_right() -> None:
    """Every file is looked at and nothing is found."""
    files, found = review(FOLDER)
    assert files == tuple(sorted(path.name for path in FOLDER.glob("*.odcs.yaml")))
    assert found == []


MISTAKES = [
    ("products", "team:", "taem:", "unknown-key", "taem: the standard knows no such key: did you mean `team`?"),
    ("products", "required: true", "requird: true", "unknown-key", "did you mean `required`?"),
    ("products", "minLength: 1", "minLenght: 1", "unknown-key", "did you mean `minLength`?"),
    ("products", "mustBe: 0", "mustBee: 0", "unknown-key", "did you mean `mustBe`?"),
    ("products", "metric: rowCount", "metric: rowCunt", "odcs-schema", "'rowCunt' is not one of"),
    ("products", "primaryKey: true", "primaryKey: 'yes'", "odcs-schema", "'yes' is not of type 'boolean'"),
    ("products", "name: products\n", "name: [\n", "yaml", "not YAML"),
    ("products", "domain: catalogue", "status: active", "yaml", "`status` is there twice"),
    ("products", "name: products\n", "name: goods\n", "file-name", "the file holds the contract goods"),
    ("products", "status: active", "status: done", "contract-unreadable", "status is 'done': it takes proposed, draft"),
    ("products", "version: 1.1.0", "version: 1.0", "version-form", "'1.0' is not MAJOR.MINOR.PATCH"),
    ("products", "  purpose:", "  authoritativeDefinitions: []\n  usage2:", "no-description", "what it is for"),
    ("products", "  name: merchandising", "  description: Who sells.", "no-owner", "`team` does not say who"),
    ("products", "property: freshness", "property: speed", "no-freshness", "how old its data may be"),
    ("products", "property: retention", "property: speed", "no-retention", "how long its data is kept"),
    ("products", "property: purposes", "property: speed", "no-purpose", "what its data may be used for"),
    ("products", "description: Who makes it.", "tags: [a]", "no-description", "manufacturer_id has no description"),
    ("products", "name: brand", "name: category", "field-repeated", "the field category is there 2 times"),
    ("products", "logicalTypeOptions: {minLength: 1}", "logicalTypeOptions: {minLength: 2, maxLength: 1}",
     "rule-impossible", "product_id must be at least 2 and at most 1"),
    ("customers", '"^[A-Za-z_]+(', '"^[A-Za-z_+(', "rule-impossible", "time_zone has a pattern that is no regular"),
    ("events", "validValues: [web, app, email]", "validValues: []", "rule-impossible", "channel has an enum without"),
    ("events", "logicalTypeOptions: {minLength: 1}", "logicalTypeOptions: {format: uuid}", "rule-unknown",
     "field event_id: the door knows no rule format; it knows minimum"),
    ("products", "physicalType: VARCHAR", "physicalType: TEXT", "rule-unknown", "physicalType TEXT is none of VARCHAR"),
    ("transactions", "to: products.product_id", "to: goods.product_id", "reference-unknown",
     "product_id refers to goods.product_id: there is no contract goods, but consents"),
    ("transactions", "to: products.product_id", "to: products.id", "reference-unknown",
     "product_id refers to products.id: products has no field id, but brand"),
    ("transactions", "to: products.product_id", "to: transactions.quantity", "reference-unknown",
     "product_id is VARCHAR, and transactions.quantity, which it refers to, BIGINT"),
    ("customers", "classification: personal", "classification: pii", "pii-outside-identities",
     "the field age_band is classified pii: what identifies a person belongs in identities alone"),
    ("events", "        required: true\n        partitioned: true", "        partitioned: true",
     "event-time-not-required", "occurred_at is the event time"),
    ("consents", "primaryKey: true", "primaryKey: false", "no-key", "no field is its `primaryKey`"),
    ("events", "element: events.occurred_at", "element: events.occured_at", "freshness-of-no-field",
     "freshness is of occured_at, which is no field"),
]  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: f"{mistake[3]}: {mistake[2].strip()}")
def test_a_mistake_is_found_where_it_is(folder: Path, mistake: tuple[str, str, str, str, str]) -> None:
    """The finding has the rule, the file, and the line of the mistake or of the field that it is in."""
    contract, before, after, rule, message = mistake
    line = _edit(folder, f"{contract}.odcs.yaml", before, after)
    found = [finding for finding in review(folder)[1] if finding.rule == rule]
    assert {finding.file for finding in found} == {f"{contract}.odcs.yaml"}
    assert {finding.level for finding in found} == {"error"}
    assert message in found[-1].message
    assert line - 10 <= found[-1].line <= line + 2


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ("taem:", "team:", {"taem: ": 14}),
        ("metric: rowCunt", "metric: rowCount", {"quality.0.metric": 26}),
    ],
)
def test_the_line_is_the_one_of_the_key(folder: Path, before: str, after: str, lines: dict[str, int]) -> None:
    """Neither the file's first nor that of the part around it."""
    line = _edit(folder, "products.odcs.yaml", after, before)
    found = {key: finding.line for key in lines for finding in review(folder)[1] if key in finding.message}
    assert found == dict.fromkeys(lines, line)


def test_every_mistake_is_found_at_once(folder: Path) -> None:
    """Several in one file, one in another, and a file that is no YAML hides none of them."""
    _edit(folder, "products.odcs.yaml", "physicalType: VARCHAR", "physicalType: TEXT")
    _edit(folder, "products.odcs.yaml", "description: Who makes it.", "tags: [a]")
    _edit(folder, "products.odcs.yaml", "mustBe: 0", "mustBee: 0")
    _edit(folder, "customers.odcs.yaml", "classification: personal", "classification: pii")
    (folder / "events.odcs.yaml").write_text("name: [")
    found = {(finding.file.partition(".")[0], finding.rule) for finding in review(folder)[1]}
    assert found >= {
        ("products", "rule-unknown"),
        ("products", "no-description"),
        ("products", "unknown-key"),
        ("customers", "pii-outside-identities"),
        ("events", "yaml"),
    }


@pytest.mark.parametrize(
    "content", ["just text", "- a", "schema: 3", "schema: [3]", "schema: [{properties: [3]}]", "1: 2"]
)
def test_a_file_of_another_form_is_no_crash(folder: Path, content: str) -> None:
    """Whatever YAML can hold, the finding names the file."""
    (folder / "products.odcs.yaml").write_text(content)
    assert "products.odcs.yaml" in {finding.file for finding in review(folder)[1]}


def test_a_folder_without_contracts_is_a_finding(tmp_path: Path) -> None:
    """Nothing to check is not the same as nothing to mend."""
    assert [finding.rule for finding in review(tmp_path)[1]] == ["no-contract"]


def test_a_change_is_at_the_line_of_its_field(folder: Path) -> None:
    """What is missing is at the line of the version, a removed contract at the first of its file."""
    old = load_contracts(folder)
    line = _edit(folder, "events.odcs.yaml", "validValues: [web, app, email]", "validValues: [web]")
    (folder / "contacts.odcs.yaml").unlink()
    new = load_contracts(folder)
    changes = compare(old, new)
    found = review_changes(folder, changes, demands(old, new, changes, Lineage()), [])
    places = {(finding.file, finding.rule): (finding.line, finding.level) for finding in found}
    assert places["events.odcs.yaml", "version-too-low"] == (5, "error")
    assert places["contacts.odcs.yaml", "contract-removed"] == (1, "error")
    at, level = places["events.odcs.yaml", "enum-narrowed"]
    assert (line - at, level) == (8, "error")


def test_a_finding_says_where_it_is() -> None:
    """As compilers do, so that an editor can jump there."""
    finding = Finding("a.yaml", 3, "wrong", "rule")
    assert str(finding) == "a.yaml:3: wrong"
    assert finding < msgspec.structs.replace(finding, line=4)
