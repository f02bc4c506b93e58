"""Print what the repository defines: which features each view has, and which views each service reads.

Run by file name, in a process of its own, as everything of Feast. It needs no registry and no data.
"""

import json

import click

from nextbest.adapters.feast_import import without_checks

with without_checks():
    import feature_services
    from feast import FeatureService


@click.command()
def main() -> None:
    r"""Print {"views": {view: [feature]}, "services": {service: [view]}} as JSON.

    \b
    Example: python feature_repo/describe.py
    """
    services = [each for each in vars(feature_services).values() if isinstance(each, FeatureService)]
    projections = {service.name: service.feature_view_projections for service in services}
    views = {each.name: [f.name for f in each.features] for used in projections.values() for each in used}
    click.echo(json.dumps({"views": views, "services": {k: [each.name for each in v] for k, v in projections.items()}}))


if __name__ == "__main__":
    main()
