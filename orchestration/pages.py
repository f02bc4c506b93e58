"""Pages of the checks: rows that fail, one click away from the check that counted them.

Belongs here: where pages are below `NEXTBEST_HOME`, their address (`orchestration.webserver` serves them), and how a
table of rows becomes HTML. A page is one file without scripts, and all of it that is data is escaped. Does not belong
here: which rows fail (`nextbest.validation`), or who may see them: what identifies a person is left out by whoever
makes the table.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final
from urllib.parse import quote

from nextbest.settings import Settings

PATH: Final = "/quality"
"""Where the Dagster UI serves the pages."""
ALLOWED: Final = "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'"
"""What a page may load and run: its own style, and nothing else."""
POLICY: Final = f'<meta http-equiv="Content-Security-Policy" content="{ALLOWED}">'
STYLE: Final = """<style>
body { font: 14px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
table { border-collapse: collapse; margin: 0 0 2rem; }
td, th { border: 1px solid #ccc; padding: .2rem .6rem; text-align: left; vertical-align: top; }
</style>"""


@dataclass(frozen=True, slots=True)
class Section:
    """A table of a page, with what it shows."""

    title: str
    rows: Sequence[Mapping[str, object]]
    note: str = ""


def page_path(settings: Settings, folder: str, name: str) -> Path:
    """Where a page is."""
    return settings.quality / folder / f"{name}.html"


def page_url(settings: Settings, folder: str, name: str) -> str:
    """The address of a page while the Dagster UI is up."""
    return f"{settings.dagster_url}{PATH}/{quote(folder)}/{quote(name)}.html"


def write_page(path: Path, html: str) -> None:
    """Put a page in its place at once, for someone may be reading it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(html)
    draft.replace(path)


def rows_page(title: str, sections: Sequence[Section]) -> str:
    """A page of tables."""
    parts = [f"<h1>{escape(title)}</h1>", *map(_section, sections)]
    head = f'<head><meta charset="utf-8">{POLICY}<title>{escape(title)}</title>{STYLE}</head>'
    return f'<!DOCTYPE html>\n<html lang="en">{head}<body>{"".join(parts)}</body></html>\n'


def _section(section: Section) -> str:
    names = list(section.rows[0]) if section.rows else []
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    rows = "".join(f"<tr>{''.join(_cell(row[name]) for name in names)}</tr>" for row in section.rows)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if names else ""
    return f"<h2>{escape(section.title)}</h2><p>{escape(section.note)}</p>{table}"


def _cell(value: object) -> str:
    return f"<td>{'<i>null</i>' if value is None else escape(str(value))}</td>"
