"""Jobs. Belongs here: selections of assets that run together; the work itself is the assets'."""

import dagster as dg

from orchestration.defs import feedback as feedback_assets
from orchestration.defs.live import LIVE_HISTORY

PIPELINE = "pipeline"
FEEDBACK = "feedback_job"
TRAINING = "training_job"

pipeline = dg.define_asset_job(
    PIPELINE,
    selection=(dg.AssetSelection.all() - dg.AssetSelection.assets(LIVE_HISTORY)) | dg.AssetSelection.all_asset_checks(),
    description="Everything, for the day whose feedback it lands; what did not change is not done again.",
)

training = dg.define_asset_job(
    TRAINING,
    selection=dg.AssetSelection.groups("training", "scoring"),
    description="Every model on the published snapshot, judged by its gate, and the scores of the champions.",
)

feedback = dg.define_asset_job(
    FEEDBACK,
    selection=dg.AssetSelection.groups(feedback_assets.GROUP).without_checks(),
    description="The decisions, outcomes and events that the event log received on a day, into the landing.",
)
