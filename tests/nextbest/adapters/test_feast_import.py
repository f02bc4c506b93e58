import sys
from pathlib import Path

import pytest
import typeguard

from nextbest.adapters.feast_import import without_checks

MARKED = """
from typeguard import typechecked

@typechecked
def plain(number: int) -> int:
    return number

@typechecked(collection_check_strategy=None)
def with_options(number: int) -> int:
    return number
"""


def test_what_is_imported_is_not_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Marked in either way; and what is imported afterwards is marked again."""
    (tmp_path / "marked_one.py").write_text(MARKED)
    monkeypatch.syspath_prepend(tmp_path)
    with without_checks():
        import marked_one  # type: ignore[import-not-found]  # noqa: PLC0415
    assert marked_one.plain("text") == marked_one.with_options("text") == "text"
    monkeypatch.delitem(sys.modules, "marked_one")
    import marked_one as again  # noqa: PLC0415

    with pytest.raises(typeguard.TypeCheckError):
        again.plain("text")
