"""What keeps a model from being trained.

Belongs here: what a step tells apart. Does not belong here: anything that takes long to import; a step that has nothing
to train on ends soon.
"""

from nextbest.errors import NextbestError


class TrainingDataError(NextbestError):
    """The marts or the feature store do not hold what training needs; the message says what."""


class TooLittleDataError(TrainingDataError):
    """There is nothing wrong with the data, but not enough of it to train and measure a model."""
