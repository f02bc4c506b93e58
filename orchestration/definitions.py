"""What Dagster loads: everything in `orchestration.defs`, one module per noun.

Belongs here: nothing but the loading. Reads of settings, contracts and the dbt manifest happen when Dagster calls
`defs`, not when this module is imported.
"""

from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """Every asset, check, job, schedule, sensor and resource of nextbest."""
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
