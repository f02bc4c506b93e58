"""Send time and channel: when, and on which channel, a customer is likeliest to answer.

Belongs here: what a send looks like to the model, and what it says of customers. Does not belong here: the shrinkage
(`models.hierarchy`), its file (`models.preference_file`), or whether a send is allowed at that hour: quiet hours are of
the contact policy.

The log odds of an answer are a level, a curve over the customer's clock, the channel and the weekend. The curve is a
sum of a few harmonics, so 23 h and 0 h are neighbours and an hour learns from those beside it. All are fitted together:
a channel used only at a bad hour is not a bad channel.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from models import hierarchy, preference_file
from models.arrays import Array
from models.errors import TooLittleDataError
from models.hierarchy import Codes, Hierarchy, Posterior
from models.linear import sigmoid
from models.preference_file import BESIDE, WEEKEND_SHARE, columns, learned
from nextbest.model_set import FeatureSpec, Output

HOURS = 24
_SATURDAY = 6
_DAYS = np.array([1 - WEEKEND_SHARE, WEEKEND_SHARE])
Names = Sequence[str] | pd.Series
_BATCH = 20_000  # customers held at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """What is fitted.

    Attributes:
        harmonics: Of the curve over the day: more follow sharper habits.
        rounds: Of the fit.
        sample: Customers that the variances and the segments' coefficients are estimated on; all are kept.
        least_sends: At an hour, or on a channel, before it is recommended to anybody.
        least_customers: To tell how far customers vary: of a few, the fit finds no end.
        seed: Of the sample.

    """

    harmonics: int = 3
    rounds: int = 40
    sample: int = 5_000
    least_sends: int = 50
    least_customers: int = 30
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """P(answer) by customer and hour, or channel: posterior mean and standard deviation, shape (customers, options)."""

    mean: Array
    deviation: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """What is known of everybody, each segment, and each customer.

    Attributes:
        coefficients: Of everybody and of segments.
        segments: By their number in `coefficients`.
        channels: In their order in a cell.
        customers: Sorted, one row each of `sends` and `answers`.
        sends: By customer and cell (hour, channel, weekend); a last row, of nobody, is empty.
        answers: As `sends`.
        least_sends: Before an hour or a channel is recommended.

    """

    coefficients: Hierarchy
    segments: pd.Index
    channels: tuple[str, ...]
    customers: pd.Index = field(repr=False)
    sends: csr_matrix = field(repr=False)
    answers: csr_matrix = field(repr=False)
    least_sends: int
    output: Output = "probability"

    @property
    def features(self) -> tuple[FeatureSpec, ...]:
        """What a row of `predict` and of the file is made of: see `rows`."""
        names = ("hour_of_day", "is_weekend", "segment_number", *(f"channel_{name}" for name in self.channels))
        return tuple(FeatureSpec(name, "context") for name in names)

    def rows(self, frame: pd.DataFrame) -> pd.DataFrame:
        """`frame` (`train` names its columns) with the columns `features`."""
        return frame.assign(
            hour_of_day=frame["hour"].astype(np.float64),
            is_weekend=(frame["weekday"] >= _SATURDAY).astype(np.float64),
            segment_number=self.segments.get_indexer(pd.Index(frame["segment"])).astype(np.float64),
            **{f"channel_{name}": (frame["channel"] == name).astype(np.float64) for name in self.channels},
        )

    def predict(self, x: Array) -> Array:
        """P(answer) of customers of a segment of whom nothing else is known."""
        known = self._learned()
        design, number = columns(x[:, 0], x[:, 1], x[:, BESIDE:], known.harmonics), x[:, 2].astype(np.int64)
        logit = (design * known.coefficients[number]).sum(axis=1)
        return _expected(logit, (np.square(design) * known.variances[number]).sum(axis=1))

    def to_onnx(self) -> onnx.ModelProto:
        """As `models.fitted.Fitted` says."""
        return preference_file.write(self._learned())

    def _learned(self) -> preference_file.Learned:
        return learned(self.coefficients, [str(name) for name in self.segments], self.channels)

    def expected(self, frame: pd.DataFrame) -> Array:
        """P(answer) of each send of a frame, whose channels must be known, given what is known of the customer."""
        cell = _cells(frame, pd.Index(self.channels))
        found = np.empty(len(frame))
        for rows, posterior in self._posteriors(frame["customer_id"], frame["segment"]):
            answers = self._answers(posterior)
            found[rows] = answers[np.arange(len(answers)), cell[rows]]
        return found

    def probabilities(self, customers: Sequence[str], segments: Sequence[str]) -> Array:
        """P(answer) at each hour on each channel, over the week, shape (customers, hours, channels)."""
        found = np.empty((len(customers), HOURS, len(self.channels)))
        for rows, posterior in self._posteriors(customers, segments):
            found[rows] = self._answers(posterior).reshape(-1, HOURS, len(self.channels), 2) @ _DAYS
        return found

    def curves(self, customers: Sequence[str], segments: Sequence[str]) -> tuple[Curves, Curves]:
        """P(answer) by hour of the customer's clock, on the channels and weekdays of all sends; and by channel."""
        weights = np.hstack([self._weights(0), self._weights(1)])
        design = self.coefficients.design
        slopes = (weights[:, :, None] * design[:, None, :]).reshape(len(design), -1)
        mean, deviation = np.empty((2, len(customers), weights.shape[1]))
        for rows, posterior in self._posteriors(customers, segments):
            probability = self._answers(posterior)
            mean[rows] = probability @ weights
            slope = ((probability * (1.0 - probability)) @ slopes).reshape(len(probability), weights.shape[1], -1)
            deviation[rows] = np.sqrt(((slope @ posterior.covariance) * slope).sum(axis=2))
        by_hour, by_channel = (
            Curves(mean=mean[:, which], deviation=deviation[:, which]) for which in (slice(HOURS), slice(HOURS, None))
        )
        return by_hour, by_channel

    def sent(self, axis: int) -> Array:
        """Sends of everybody by hour (`axis` 0) or channel (1)."""
        everything = np.asarray(self.sends.sum(axis=0)).reshape(HOURS, len(self.channels), 2)
        return np.asarray(everything.sum(axis=(1 - axis, 2)))

    def _weights(self, axis: int) -> Array:
        """Of each cell in each option's answer, shape (cells, options): the usual mix of what is not asked about."""
        shape = (HOURS, len(self.channels), 2)
        other = self.sent(1 - axis) / self.sent(1 - axis).sum()
        mix = np.expand_dims(other, axis)[:, :, None] * _DAYS
        options = np.expand_dims(np.eye(shape[axis]), 1 - axis)[:, :, None, :]
        weights = np.broadcast_to(mix, shape)[..., None] * options
        return np.asarray(weights.reshape(-1, shape[axis]))

    def _answers(self, posterior: Posterior) -> Array:
        """P(answer) by cell."""
        return _expected(*posterior.linear(self.coefficients.design))

    def _posteriors(self, customers: Names, segments: Names) -> Iterator[tuple[slice, Posterior]]:
        row, segment = self.customers.get_indexer(pd.Index(customers)), self.segments.get_indexer(pd.Index(segments))
        for start in range(0, len(row), _BATCH):
            rows = slice(start, start + _BATCH)
            known = row[rows]  # -1, of one never seen, is the last row, of nobody
            yield (
                rows,
                self.coefficients.posterior(self.sends[known].toarray(), self.answers[known].toarray(), segment[rows]),
            )


def train(frame: pd.DataFrame, params: Params) -> Preferences:
    """Learn from `frame`, one row per send: who, by what, when, and whether it was answered.

    Columns: `customer_id`, `segment` (text; a customer's last row counts), `channel`, `hour` (0 to 23 by the customer's
    clock), `weekday` (1, Monday, to 7), `is_answered` (0 or 1).

    Raises:
        TooLittleDataError: no send was answered, or all were; or they went to a few customers only.

    """
    if frame.empty or not 0 < frame["is_answered"].mean() < 1:
        raise TooLittleDataError(
            f"preferences: {len(frame)} sends, and not both answered and unanswered ones: there is nothing to prefer"
        )
    if (reached := frame["customer_id"].nunique()) < params.least_customers:
        raise TooLittleDataError(
            f"preferences: sends to {reached} customers: it takes {params.least_customers} to tell how far they vary"
        )
    segment, segments = pd.factorize(frame["segment"], sort=True)
    channels = pd.Index(np.sort(frame["channel"].unique()))
    customers, sends, answers, code = _counted(frame, channels)
    segment_of = np.empty(len(customers), dtype=np.int64)
    segment_of[code] = segment  # the last of several stays
    sample = np.random.default_rng(params.seed).permutation(len(customers))[: params.sample]
    design, blocks = _design(params.harmonics, len(channels))
    coefficients = hierarchy.fit(
        design, blocks, sends[sample], answers[sample], segment_of[sample], segments=len(segments), rounds=params.rounds
    )
    return Preferences(
        coefficients=coefficients,
        segments=pd.Index(segments),
        channels=tuple(str(name) for name in channels),
        customers=customers,
        sends=sends,
        answers=answers,
        least_sends=params.least_sends,
    )


def restored(content: bytes, frame: pd.DataFrame, params: Params) -> Preferences:
    """What the version in a file says after the sends of `frame` (`train` names its columns), of channels it knows."""
    known = preference_file.read(content)
    design, _ = _design(known.harmonics, len(known.channels))
    channels = pd.Index(known.channels)
    customers, sends, answers, _ = _counted(frame[frame["channel"].isin(channels)], channels)
    return Preferences(
        coefficients=known.hierarchy(design),
        segments=pd.Index(known.segments),
        channels=known.channels,
        customers=customers,
        sends=sends,
        answers=answers,
        least_sends=params.least_sends,
    )


def preferences(fitted: Preferences, customers: Sequence[str], segments: Sequence[str]) -> pd.DataFrame:
    """The best hour and channel of each customer, one row each; one never seen gets the segment's, or everybody's.

    `hour_probability` and `hour_deviation` are of the answer at `best_hour`; `hour_gain` is what that hour adds to it
    over the hour at which most sends go out. The same for channels.
    """
    table = pd.DataFrame({"customer_id": customers, "segment": segments})
    by_hour, by_channel = fitted.curves(customers, segments)
    hour, of_hour = _best(by_hour, fitted.sent(0), fitted.least_sends, "hour")
    channel, of_channel = _best(by_channel, fitted.sent(1), fitted.least_sends, "channel")
    names = np.array(fitted.channels, dtype=object)
    return table.assign(best_hour=hour, **of_hour, best_channel=names[channel], **of_channel)


def _best(curves: Curves, sent: Array, least: int, name: str) -> tuple[NDArray[np.int64], dict[str, Array]]:
    usual = int(np.argmax(sent))
    may = (sent >= least) | (np.arange(len(sent)) == usual)
    best = np.argmax(np.where(may, curves.mean, -1.0), axis=1)
    rows = np.arange(len(best))
    found = {
        f"{name}_probability": curves.mean[rows, best],
        f"{name}_deviation": curves.deviation[rows, best],
        f"{name}_gain": curves.mean[rows, best] - curves.mean[:, usual],
    }
    return best, found


def _counted(frame: pd.DataFrame, channels: pd.Index) -> tuple[pd.Index, csr_matrix, csr_matrix, Codes]:
    """Customers, their sends and answers by cell, each with a last row of nobody; and whose each row of `frame` is."""
    code, customers = pd.factorize(frame["customer_id"], sort=True)
    shape = (len(customers) + 1, HOURS * len(channels) * 2)
    where = code, _cells(frame, channels)
    sends = csr_matrix((np.ones(len(frame)), where), shape=shape)
    return pd.Index(customers), sends, csr_matrix((frame["is_answered"].to_numpy(np.float64), where), shape=shape), code


def _cells(frame: pd.DataFrame, channels: pd.Index) -> Codes:
    channel = channels.get_indexer(pd.Index(frame["channel"]))
    is_weekend = frame["weekday"].to_numpy(np.int64) >= _SATURDAY
    return np.asarray((frame["hour"].to_numpy(np.int64) * len(channels) + channel) * 2 + is_weekend)


def _expected(logit: Array, variance: Array) -> Array:
    """The mean of the logistic function of a normal variable, nearly (MacKay, 1992b, eq. 10)."""
    return sigmoid(logit / np.sqrt(1.0 + np.pi * variance / 8.0))


def _design(harmonics: int, channels: int) -> tuple[Array, Codes]:
    """Of each cell, a row of columns: level, harmonics, channels, weekend; and which columns share a variance."""
    hour, channel, weekend = (
        part.ravel() for part in np.meshgrid(np.arange(HOURS), np.arange(channels), np.arange(2), indexing="ij")
    )
    blocks = [0, *np.repeat(np.arange(1, harmonics + 1), 2), *[harmonics + 1] * channels, harmonics + 2]
    design = columns(hour.astype(np.float64), weekend.astype(np.float64), np.eye(channels)[channel], harmonics)
    return design, np.array(blocks, dtype=np.int64)
