"""Great Expectations' own page of a suite's results (Data Docs), as one file that needs no network.

Belongs here: rendering and what keeps the page to itself. The library's pages load styles and scripts from a dozen
other places: here they are left out, a few lines of style take their place, and a policy in the page forbids loading or
running anything. Does not belong here: running a suite (`orchestration.expectations`), or where pages are kept and
served (`orchestration.pages`).
"""

import re
from html import escape
from importlib import import_module
from typing import Any, Final

from orchestration.pages import POLICY, STYLE

_ELSEWHERE: Final = re.compile(
    r"<script\b.*?</script\s*>|<link\b[^>]*>|<img\b[^>]*>|<iframe\b.*?</iframe\s*>|<footer\b.*?</footer\s*>"
    r"|url\([^)]*\)",
    re.DOTALL | re.IGNORECASE,
)
_HEAD: Final = re.compile(r"<head>", re.IGNORECASE)


def data_docs_page(results: Any) -> str:
    """The page of an `ExpectationSuiteValidationResult`."""
    renderer = import_module("great_expectations.render.renderer").ValidationResultsPageRenderer
    for each in results.results:  # the library's templates escape nothing
        each.result = _escaped(each.result)
        each.expectation_config.kwargs = _escaped(each.expectation_config.kwargs)
    view = import_module("great_expectations.render.view").DefaultJinjaPageView
    page: str = view().render(renderer(run_info_at_end=True).render(results))
    return _HEAD.sub(lambda head: head[0] + POLICY + STYLE, _ELSEWHERE.sub("", page), count=1)


def _escaped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _escaped(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(each) for each in value]
    return escape(value) if isinstance(value, str) else value
