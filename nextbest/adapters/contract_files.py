"""Contracts as files: one ODCS v3 YAML per dataset, in a folder or at a git revision of it.

Belongs here: finding, reading and parsing contract files, with the standard's own package. Does not belong here: what a
contract means (`nextbest.contracts`).
"""

import subprocess
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

import yaml
from open_data_contract_standard.model import OpenDataContractStandard

from nextbest.contracts import Contract, ContractError, contract_from_odcs

SUFFIX = ".odcs.yaml"


class RevisionError(ContractError):
    """There is no such git revision to compare with; the message says how to get it."""


def load_contracts(folder: Path) -> dict[str, Contract]:
    """Every contract of a folder, by name; asked for one that it has not, it raises a `ContractError` too.

    Raises:
        ContractError: the folder holds no contract, or one that cannot be read; the message names the file.

    """
    contracts = _by_name((path.name, path.read_bytes()) for path in sorted(folder.glob(f"*{SUFFIX}")))
    if not contracts:
        raise ContractError(f"{folder} holds no contract (*{SUFFIX})")
    return _Held(folder, contracts)


def read_contract(path: Path) -> Contract:
    """The contract of one file.

    Raises:
        ContractError: it cannot be read.
        OSError: there is no such file.

    """
    return _parse(path.name, path.read_bytes())


def contracts_at(folder: Path, reference: str) -> dict[str, Contract]:
    """The contracts that `folder` held at a git revision; none where it did not exist yet.

    Raises:
        RevisionError: the folder is in no git repository, or the revision is unknown.
        ContractError: a contract of that revision cannot be read.

    """
    names = git(folder, "ls-tree", "--name-only", "--end-of-options", reference, "./").splitlines()
    return _by_name(
        (name, git(folder, "show", f"{reference}:./{name}").encode()) for name in names if name.endswith(SUFFIX)
    )


def path_in_repository(folder: Path) -> str:
    """Where a folder is, relative to the root of its git repository; its name where there is none."""
    try:
        return git(folder, "rev-parse", "--show-prefix").strip().rstrip("/")
    except RevisionError:
        return folder.name


def git(folder: Path, *arguments: str) -> str:
    """What git says of a folder.

    Raises:
        RevisionError: git is not there, or does not know what it was asked for.

    """
    command = ["git", "-C", str(folder), *arguments]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise RevisionError("git is not installed, which knows what there was") from error
    if result.returncode:
        raise RevisionError(f"git {' '.join(arguments)}: {result.stderr.strip()}")
    return result.stdout


class _Held(dict[str, Contract]):
    """Contracts of a folder: a home that keeps its own may lack one that a newer version needs."""

    def __init__(self, folder: Path, contracts: Mapping[str, Contract]) -> None:
        super().__init__(contracts)
        self._folder = folder

    def __missing__(self, name: str) -> Contract:
        raise ContractError(
            f"{self._folder} holds no contract {name}, which this version needs: "
            f"copy {name}{SUFFIX} there from the folder data_contracts of nextbest"
        )


def _by_name(files: Iterable[tuple[str, bytes]]) -> dict[str, Contract]:
    contracts = (_parse(name, content) for name, content in files)
    return {contract.name: contract for contract in contracts}


@lru_cache(maxsize=64)
def _parse(name: str, content: bytes) -> Contract:
    """One file's contract, read once: a run of the pipeline asks twenty times, and YAML takes its time.

    PyYAML in C is no way out: a file that is all brackets ends the process.
    """
    try:
        document = OpenDataContractStandard.from_string(content.decode())
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise ContractError(f"{name} is no ODCS v3 contract: {error}") from error
    contract = contract_from_odcs(document.model_dump(by_alias=True, exclude_none=True))
    if name != contract.name + SUFFIX:
        raise ContractError(f"{name} holds the contract {contract.name}: a file is named after its contract")
    return contract
