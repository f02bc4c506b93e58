"""Stand-in until the template module is merged."""

from collections.abc import Mapping
from functools import lru_cache

from nextbest.errors import NextbestError


class TemplateError(NextbestError):
    """A template that cannot be used."""


class Template:
    """A content text."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.variables: frozenset[str] = frozenset()

    def render(self, _values: Mapping[str, object]) -> str:
        """The text."""
        return self.source


@lru_cache
def compile_template(source: str) -> Template:
    """Compile."""
    return Template(source)
