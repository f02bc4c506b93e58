"""Feast's settings for one home.

Belongs here: filling in `feature_store.yaml`. Does not belong here: Feast, which the rims import, or any path
(`nextbest.settings`).
"""

import string
from typing import Any

import yaml

from nextbest.settings import Settings


def repo_config(settings: Settings) -> dict[str, Any]:
    """The arguments of Feast's `RepoConfig`; Feast by itself fills them in from this process' home, whichever is asked.

    Raises:
        OSError: the file cannot be read.

    """
    text = (settings.feature_repo / "feature_store.yaml").read_text()
    config: dict[str, Any] = yaml.safe_load(string.Template(text).substitute(settings.environment()))
    return config
