"""What is made of the contracts: dbt's YAML, the page of each contract, and what becomes of personal data.

Belongs here: which files there are, writing them, and whether they are up to date. Does not belong here: what is in
them (`orchestration.dbt_yaml`, `orchestration.contract_pages`, `orchestration.privacy`).

A generated file says so in its first line. That line is also how a file that is no longer made is told from one that a
person wrote: only the former is removed.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nextbest.adapters.contract_files import load_contracts
from nextbest.contracts import Contract
from nextbest.settings import Settings
from orchestration import contract_pages, dbt_yaml, privacy
from orchestration.lineage import read_lineage

MARK: Final = "Generated from data_contracts/ by `nextbest contracts generate`: edit the contract instead."
_MARKED_BYTES: Final = 200


@dataclass(frozen=True, slots=True)
class Generated:
    """What the generated files of some folders should be: text by path, and paths of files that should be gone."""

    texts: Mapping[Path, str]
    gone: frozenset[Path]

    def stale(self) -> list[Path]:
        """The files that are not as they should be, sorted."""
        changed = {path for path, text in self.texts.items() if not path.is_file() or path.read_text() != text}
        return sorted(changed | self.gone)

    def write(self) -> list[Path]:
        """Make them so, each file as a whole; returns what was changed."""
        stale = self.stale()
        for path in stale:
            if path in self.gone:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                draft = path.with_name(f".{path.name}.{os.getpid()}")
                draft.write_text(self.texts[path])
                draft.replace(path)
        return stale


def generate(settings: Settings, *, write: bool) -> list[Path]:
    """Bring everything up to date, or only look; returns the files that are not, or were not.

    dbt's come first: lineage, which the pages tell, is read from a project that knows its sources. So one that is only
    looked at and lacks some says nothing of the pages yet.

    Raises:
        ContractError, PolicyError, DbtError, LineageError: what is read for it is broken.

    """
    contracts = load_contracts(settings.folder("contracts"))
    dbt = dbt_files(settings.folder("dbt"), contracts) if _is_own(settings) else Generated({}, frozenset())
    stale = dbt.write() if write else dbt.stale()
    if stale and not write:
        return stale
    pages = _pages(settings, contracts)
    return stale + (pages.write() if write else pages.stale())


def _is_own(settings: Settings) -> bool:
    """Whether the dbt project is the home's: the checkout's is made from the checkout's contracts."""
    return settings.folder("dbt").is_relative_to(settings.home)


def dbt_files(project: Path, contracts: Mapping[str, Contract]) -> Generated:
    """The sources, and the YAML of each staging model that there is: a contract nobody models is a source alone."""
    folder = project / "models" / "staging"
    models = {name: folder / f"stg_{name}.sql" for name in sorted(contracts)}
    staged = [name for name, model in models.items() if model.is_file()]
    texts = {folder / "_sources.yml": dbt_yaml.sources(contracts)} | {
        models[name].with_suffix(".yml"): dbt_yaml.staging(contracts[name], models[name].read_text(), staged)
        for name in staged
    }
    return _generated(folder, {path: f"# {MARK}\n{text}" for path, text in texts.items()})


def _pages(settings: Settings, contracts: Mapping[str, Contract]) -> Generated:
    folder = settings.home / "docs" / "contracts"
    lineage = read_lineage(settings)
    texts = {
        f"{name}.md": contract_pages.page(contract, contracts, lineage) for name, contract in contracts.items()
    } | {
        "README.md": contract_pages.index(contracts),
        "privacy.md": privacy.page(contracts, lineage),
    }
    marked = {folder / name: f"<!-- {MARK} -->\n\n{text}" for name, text in texts.items()}
    return _generated(folder, marked | {folder / "privacy.json": privacy.policy(contracts, lineage, MARK)})


def _generated(folder: Path, texts: Mapping[Path, str]) -> Generated:
    gone = {path for path in folder.glob("*") if path.is_file() and path not in texts and _is_marked(path)}
    return Generated(texts, frozenset(gone))


def _is_marked(path: Path) -> bool:
    return MARK.encode() in path.read_bytes()[:_MARKED_BYTES]
