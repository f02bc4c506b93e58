"""Kinds of command line parameters. Belongs here: what several commands ask for, checked before they start to work."""

from pathlib import Path
from typing import Any

import click


class ReportFile(click.Path):
    """A file to be written at the end: the folder it goes to must be there from the beginning."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, writable=True, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(str(super().convert(value, param, ctx)))
        if not path.parent.is_dir():
            self.fail(f"there is no folder {path.parent}", param, ctx)
        return path
