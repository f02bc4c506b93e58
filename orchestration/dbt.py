"""The dbt project as Dagster sees it: its parsed manifest, and a version per model.

Belongs here: parsing the project, starting dbt, and what a model's result depends on. Does not belong here: the assets
(`orchestration.defs.warehouse`) or any SQL (`dbt_project/`).
"""

import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date
from graphlib import TopologicalSorter
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dagster_dbt import DagsterDbtTranslator, DbtCliInvocation
from packaging.version import Version

from nextbest.errors import NextbestError
from nextbest.settings import Settings
from orchestration.unchanged import digest, file_digest

EXECUTABLE = Path(sys.executable).with_name("dbt")

_OUTPUT_FOLDERS = {"target", "logs", "dbt_packages"}
_MESSAGE_LINES = 15
BUILT = {"model", "seed"}
"""What dbt makes a table of."""
_SETTINGS = "dbt_project.yml"
"""Holds the variables, which the manifest does not."""
_DAY_MACRO = ".as_of_day"
"""End of the id of the macro by which SQL knows the day; only what uses it, and what reads that, is new every day."""


class DbtError(NextbestError):
    """dbt refuses the project; the message is the end of what it said."""


def parsed_project(settings: Settings) -> Path:
    """Folder with the `manifest.json` of the project as it is now; parsed when no one did so before.

    The folder is named by the project's content, and by the landing, whose path is written into it. It appears by one
    rename, so that processes that load the definitions at the same time neither see a stale manifest nor half of one.

    Raises:
        DbtError: dbt cannot parse the project.

    """
    content = digest(_project_digest(settings.folder("dbt")), settings.landing)
    folder = settings.state / "dbt" / f"project-{content}"
    if not (folder / _SETTINGS).is_file():
        draft = folder.with_name(f"{folder.name}.{os.getpid()}")
        _parse(settings, draft)
        shutil.copy(settings.folder("dbt") / _SETTINGS, draft)
        try:
            draft.rename(folder)
        except OSError:  # another process was faster
            shutil.rmtree(draft)
    return folder


def start(
    settings: Settings,
    arguments: Sequence[str],
    *,
    parsed: Path,
    manifest: Mapping[str, Any],
    translator: DagsterDbtTranslator,
) -> DbtCliInvocation:
    """Start the dbt command in a process of its own; iterate over its events to follow it.

    Not through `DbtCliResource`: that first loads all of dbt into this process, which takes as long as dbt's own start.
    """
    target = settings.state / "dbt" / "target"
    target.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):  # saves dbt the parsing
        shutil.copy(parsed / "partial_parse.msgpack", target)
    project = settings.folder("dbt")
    return DbtCliInvocation.run(
        args=[str(EXECUTABLE), *arguments],
        env={
            **os.environ,
            **settings.environment(),
            "DBT_LOG_FORMAT": "json",
            "DBT_PROJECT_DIR": str(project),
            "DBT_PROFILES_DIR": str(project),
            "DBT_TARGET_PATH": str(target),
            "DBT_LOG_PATH": str(target),
            "PYTHONUNBUFFERED": "1",
        },
        manifest=manifest,
        dagster_dbt_translator=translator,
        project_dir=project,
        target_path=target,
        raise_on_error=True,
        context=None,
        adapter=None,
        cli_version=Version(version("dbt-core")),
    )


def _project_digest(project: Path) -> str:
    """Over every file dbt reads: names with folders, so that a moved model counts as changed."""
    files = [p for p in project.rglob("*") if p.is_file() and p.relative_to(project).parts[0] not in _OUTPUT_FOLDERS]
    names = sorted(str(path.relative_to(project)) for path in files)
    return digest(*names, file_digest(files))


def _parse(settings: Settings, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    _run_quietly(settings, target, ["parse"])


def _run_quietly(settings: Settings, target: Path, command: Sequence[str], **variables: str) -> None:
    """Run a dbt command that writes only to `target`."""
    project = settings.folder("dbt")
    folders = {"project-dir": project, "profiles-dir": project, "target-path": target, "log-path": target}
    done = subprocess.run(
        [EXECUTABLE, "--quiet", *command, *(f"--{option}={folder}" for option, folder in folders.items())],
        env={**os.environ, **settings.environment(), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        lines = (done.stdout + done.stderr).strip().splitlines()[-_MESSAGE_LINES:]
        raise DbtError(f"dbt cannot {command[0]} the project:\n" + "\n".join(lines))


def compiled_models(settings: Settings) -> dict[str, str]:
    """The SQL of every model as DuckDB would run it, parents first; a source goes by its bare name.

    Compiled beside the warehouse, which another process may be writing to.

    Raises:
        DbtError: dbt cannot compile the project.

    """
    with TemporaryDirectory() as folder:
        target = Path(folder)
        arguments = ["compile", "--no-introspect", "--select", "resource_type:model", "--indirect-selection", "empty"]
        _run_quietly(settings, target, arguments, NEXTBEST_WAREHOUSE=":memory:")
        manifest = json.loads((target / "manifest.json").read_text())
        models = {name: node for name, node in manifest["nodes"].items() if node["resource_type"] == "model"}
        parents = {name: [p for p in node["depends_on"]["nodes"] if p in models] for name, node in models.items()}
        compiled = {}
        for name in TopologicalSorter(parents).static_order():
            node = models[name]
            sql = (target / "compiled" / node["package_name"] / node["original_file_path"]).read_text()
            for source in manifest["sources"].values():
                sql = sql.replace(source["relation_name"], source["name"])
            compiled[node["name"]] = sql
        return compiled


def read_manifest(folder: Path) -> dict[str, Any]:
    """The parsed project in `folder` with its settings, in which every test belongs to one model.

    dbt leaves open whose a test of several models is, and Dagster then shows none of its results: here it belongs to
    the model that is furthest downstream.
    """
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    manifest["settings"] = (folder / _SETTINGS).read_text()
    nodes = manifest["nodes"]

    def depth(unique_id: str) -> int:
        parents = nodes[unique_id]["depends_on"].get("nodes", []) if unique_id in nodes else []
        return 1 + max(map(depth, parents), default=0)

    for node in nodes.values():
        if node["resource_type"] == "test" and not node.get("attached_node"):
            node["attached_node"] = max(sorted(node["depends_on"]["nodes"]), key=depth, default=None)
    return manifest


def model_versions(manifest: Mapping[str, Any], landed: Mapping[str, str], as_of: date) -> dict[str, str]:
    """A version per model and seed: its code and tests, every macro, its parents' versions; the day where it is used.

    Args:
        manifest: of the project.
        landed: a version of what is landed, per source table.
        as_of: the day the features are computed for.

    Returns:
        Versions by dbt's unique id, parents before children.

    """
    nodes = manifest["nodes"]
    shared = digest(manifest["settings"], *sorted(m["macro_sql"] for m in manifest["macros"].values()))
    tests: dict[str, list[str]] = defaultdict(list)
    for node in nodes.values():
        if node["resource_type"] == "test":
            for parent in node["depends_on"]["nodes"]:
                tests[parent].append(_definition(node))

    versions: dict[str, str] = {}

    def version_of(unique_id: str) -> str:
        if unique_id in manifest["sources"]:
            return landed.get(manifest["sources"][unique_id]["name"], "")
        if unique_id not in versions:
            node = nodes[unique_id]
            parents = [version_of(parent) for parent in sorted(node["depends_on"].get("nodes", []))]
            uses_day = any(macro.endswith(_DAY_MACRO) for macro in node["depends_on"].get("macros", []))
            day = as_of if uses_day else ""
            versions[unique_id] = digest(shared, day, _definition(node), *sorted(tests[unique_id]), *parents)
        return versions[unique_id]

    for unique_id, node in nodes.items():
        if node["resource_type"] in BUILT:
            version_of(unique_id)
    return versions


def _definition(node: Mapping[str, Any]) -> str:
    keys = ("name", "raw_code", "checksum", "unrendered_config", "columns", "test_metadata")
    return json.dumps({key: node.get(key) for key in keys}, sort_keys=True, default=str)
