"""`python -m nextbest.adapters.complete_journey > policies/actions.yaml`: the actions, derived from the data."""

import sys

from nextbest.adapters.complete_journey.actions import actions_yaml

sys.stdout.write(actions_yaml())
