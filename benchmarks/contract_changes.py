"""Which changes of a contract break somebody: thirty edits, judged by us and by `datacontract breaking`.

Run by `nextbest bench contract-changes`. The edits, with what their author meant, are in `contract_pairs.yaml`;
datacontract-cli judges in both perspectives it has, and what it says is its exit status and its highest severity. With
`--check`, the table in docs/contract-changes.md is compared with our judgement instead, without the peer.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
import msgspec
import yaml
from rich.console import Console
from rich.table import Table

from nextbest.adapters.contract_files import load_contracts
from nextbest.compatibility import Verdict, compare
from nextbest.settings import CHECKOUT

CONTRACTS = CHECKOUT / "data_contracts"
PAIRS = CHECKOUT / "benchmarks" / "contract_pairs.yaml"
DOCUMENT = CHECKOUT / "docs" / "contract-changes.md"
PEER = CHECKOUT / ".venv-tools" / "bin" / "datacontract"
PERSPECTIVES = ("consumer", "producer")
COLUMNS = ("pair", "truth", "ours", "datacontract-cli, consumer", "datacontract-cli, producer")


class Judgement(msgspec.Struct, frozen=True):
    """One pair: what its author meant, our verdict, and the peer's by perspective (empty: not asked)."""

    pair: str
    truth: str
    ours: str
    peer: dict[str, str]

    def row(self) -> tuple[str, ...]:
        return (self.pair, self.truth, self.ours, *(self.peer[perspective] for perspective in self.peer))


@click.command()
@click.option("--json", "report", type=click.Path(dir_okay=False, path_type=Path), help="Write the judgements here.")
@click.option("--markdown", is_flag=True, help="Print the table as it is in docs/contract-changes.md.")
@click.option("--check", is_flag=True, help="Only compare docs/contract-changes.md with our judgement.")
def main(report: Path | None, *, markdown: bool, check: bool) -> None:
    """Judge every pair and print the table."""
    if check:
        sys.exit(differences())
    if not PEER.is_file():
        raise click.UsageError("datacontract-cli is not installed: make .venv-tools/.installed")
    judged = list(judge(with_peer=True))
    if markdown:
        click.echo(
            "\n".join("| " + " | ".join(row) + " |" for row in (COLUMNS, ["---"] * 5, *(j.row() for j in judged)))
        )
    else:
        table = Table(*COLUMNS)
        for judgement in judged:
            table.add_row(*judgement.row())
        Console(width=None if sys.stdout.isatty() else 160).print(table)
        click.echo(score(judged))
    if report:
        report.write_bytes(msgspec.json.format(msgspec.json.encode(judged)))


def judge(*, with_peer: bool) -> Iterator[Judgement]:
    """Make every edit in a copy of the contracts, and ask about it."""
    old = load_contracts(CONTRACTS)
    for truth, pairs in yaml.safe_load(PAIRS.read_text(encoding="utf-8")).items():
        for pair in pairs:
            with tempfile.TemporaryDirectory() as place:
                folder = Path(shutil.copytree(CONTRACTS, Path(place) / "data_contracts"))
                edit(folder, pair)
                verdicts = [change.verdict for change in compare(old, load_contracts(folder))]
                ours = max(verdicts, key=get_args(Verdict).index, default="compatible")
                files = (CONTRACTS / pair["file"], folder / pair["file"])
                peer = {each: ask_peer(*files, each) for each in PERSPECTIVES} if with_peer else {}
                yield Judgement(pair["name"], truth, ours, peer)


def edit(folder: Path, pair: dict[str, Any]) -> None:
    """Replace the first `before` of a pair by its `after`."""
    path = folder / pair["file"]
    text = path.read_text(encoding="utf-8")
    if pair["before"] not in text:
        raise click.ClickException(f"{pair['name']}: {pair['file']} does not hold what is to be replaced")
    path.write_text(text.replace(pair["before"], pair["after"], 1), encoding="utf-8")


def ask_peer(before: Path, after: Path, perspective: str) -> str:
    """What datacontract-cli says: breaking by its exit status (1), else the highest severity that it prints."""
    command = [str(PEER), "breaking", "--perspective", perspective, str(before), str(after)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    severities = set(re.findall(r"│ (ERROR|WARNING|INFO) ", result.stdout))
    if result.returncode not in {0, 1} or ((result.returncode == 1) != ("ERROR" in severities)):
        raise click.ClickException(f"{' '.join(command)}:\n{result.stdout}{result.stderr}")
    if result.returncode == 1:
        return "breaking"
    return next((severity.lower() for severity in ("WARNING", "INFO") if severity in severities), "no change")


def score(judged: list[Judgement]) -> str:
    """How many are judged as their author meant it: by us, and by each perspective of the peer and both together."""
    right = {"ours": sum((j.ours == "breaking") == (j.truth == "breaking") for j in judged)}
    for each in PERSPECTIVES:
        right[each] = sum((j.peer[each] == "breaking") == (j.truth == "breaking") for j in judged)
    right["either"] = sum(("breaking" in j.peer.values()) == (j.truth == "breaking") for j in judged)
    return f"as meant, of {len(judged)}: " + ", ".join(f"{who} {count}" for who, count in right.items())


def differences() -> int:
    """Print every row of our judgement that the document does not have; returns how many."""
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    told = [tuple(cell.strip() for cell in line.strip("|").split("|"))[:3] for line in lines if line.startswith("| ")]
    missing = [j.row()[:3] for j in judge(with_peer=False) if j.row()[:3] not in told]
    for row in missing:
        click.echo(f"docs/contract-changes.md does not say: {' | '.join(row)}")
    return len(missing)


if __name__ == "__main__":
    main(prog_name="nextbest bench contract-changes")
