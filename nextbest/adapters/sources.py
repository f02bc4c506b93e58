"""Finding the source of data that the setting `NEXTBEST_SOURCE` names.

Belongs here: turning `module:Class` into an instance, with errors that say what to mend. A source itself is a module
of its own, here or in anyone's package.
"""

from importlib import import_module

from nextbest.errors import NextbestError
from nextbest.settings import Settings
from nextbest.source import Source

NONE = "none"
_BY_NAME = {"mappings": "nextbest.adapters.mappings:Mappings"}
"""Sources of nextbest's own that have a word of their own."""


class SourceError(NextbestError):
    """The source of data cannot be loaded, or lacks what it needs."""


def load_source(settings: Settings) -> Source | None:
    """Build the source that `settings.source` names; None when files are landed by hand.

    Raises:
        SourceError: the setting is no `module:Class`, or what it names is not there.

    """
    if settings.source == NONE:
        return None
    module, _, name = _BY_NAME.get(settings.source, settings.source).partition(":")
    try:
        source: Source = getattr(import_module(module), name)(settings)
    except (ImportError, AttributeError, ValueError) as error:
        message = f"NEXTBEST_SOURCE is {settings.source!r}: it takes `module:Class`, `mappings` or `{NONE}` ({error})"
        raise SourceError(message) from error
    return source
