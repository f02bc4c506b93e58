"""The file of a version of preferences: a graph that answers for whoever nothing is known of, and what it is made of.

Belongs here: writing a hierarchy as an ONNX file, and reading it back. Does not belong here: the fit
(`models.hierarchy`), or what is known of a customer (`models.preferences`).

What a customer did since is no part of a version: it is counted when somebody is scored. So the file holds what was
learned of everybody and of segments, and how far customers vary, as constants of its graph: what is checked is what is
used.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from models.arrays import Array
from models.graphs import FEATURES, Graph
from models.hierarchy import Hierarchy

BESIDE = 3
"""Columns of a row before those of channels: hour, weekend, segment."""
WEEKEND_SHARE = 2 / 7
_COEFFICIENTS, _VARIANCES, _NAMES = "coefficients", "variances", "names"


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What a version knows, without any customer: a row of everybody comes after those of the segments."""

    coefficients: Array
    variances: Array
    segments: tuple[str, ...]
    channels: tuple[str, ...]

    @property
    def harmonics(self) -> int:
        return (int(self.coefficients.shape[1]) - 2 - len(self.channels)) // 2

    def hierarchy(self, design: Array) -> Hierarchy:
        """What it was written from, over the cells of `design`."""
        within = self.variances[0]
        return Hierarchy(
            design=design,
            everybody=self.coefficients[-1],
            segments=self.coefficients[:-1],
            between=self.variances[-1] - within,
            within=within,
        )


def learned(fitted: Hierarchy, segments: Sequence[str], channels: Sequence[str]) -> Learned:
    """What a hierarchy knows."""
    within = np.tile(fitted.within, (len(segments), 1))
    return Learned(
        coefficients=np.vstack([fitted.segments, fitted.everybody]),
        variances=np.vstack([within, fitted.within + fitted.between]),
        segments=tuple(segments),
        channels=tuple(channels),
    )


def columns(hour: Array, weekend: Array, channel: Array, harmonics: int) -> Array:
    """A row each of level, harmonics of the hour, channel and weekend; `channel` has a column each, 1 for the row's."""
    angles = 2 * np.pi * hour[:, None] * np.arange(1, harmonics + 1) / 24
    waves = np.stack([np.cos(angles), np.sin(angles)], axis=2).reshape(len(hour), -1)
    return np.hstack([np.ones((len(hour), 1)), waves, channel, weekend[:, None] - WEEKEND_SHARE])


def write(known: Learned) -> onnx.ModelProto:
    """P(answer) of rows of hour, weekend, number of the segment (-1: of none), and channels, a column each."""
    channels, waves = len(known.channels), 2 * known.harmonics
    width = BESIDE + channels
    angle, phase = np.zeros((width, waves)), np.tile([0.0, -np.pi / 2], known.harmonics)  # a sine is a cosine, later
    angle[0] = np.repeat(2 * np.pi * np.arange(1, known.harmonics + 1) / 24, 2)
    plain, constant = np.zeros((width, 2 + waves + channels)), np.zeros(2 + waves + channels)
    plain[BESIDE:, 1 + waves : -1] = np.eye(channels)
    plain[1, -1], constant[0], constant[-1] = 1.0, 1.0, -WEEKEND_SHARE
    placed = np.eye(waves, len(constant), k=1)

    graph = Graph(width)
    wave = graph.add("Cos", graph.add("Add", graph.add("MatMul", FEATURES, _single(angle)), _single(phase)))
    straight = graph.add("Add", graph.add("MatMul", FEATURES, _single(plain)), _single(constant))
    design = graph.add("Add", straight, graph.add("MatMul", wave, _single(placed)))
    number = graph.add("MatMul", FEATURES, _single(np.eye(width)[:, 2]))
    segment = graph.add("Cast", number, to=onnx.TensorProto.INT64)
    mean, variance = (
        graph.add("Mul", factor, graph.add("Gather", graph.constant(name, _single(values)), segment, axis=0))
        for factor, name, values in (
            (design, _COEFFICIENTS, known.coefficients),
            (graph.add("Mul", design, design), _VARIANCES, known.variances),
        )
    )
    logit, spread = (graph.add("ReduceSum", each, np.array([1]), keepdims=1) for each in (mean, variance))
    flatter = graph.add("Sqrt", graph.add("Add", graph.add("Mul", spread, np.pi / 8.0), 1.0))
    model = graph.probabilities(graph.add("Div", logit, flatter))
    helper.set_model_props(model, {_NAMES: json.dumps([known.segments, known.channels])})
    return model


def read(content: bytes) -> Learned:
    """What a file was written from, in the precision of its graph."""
    model = onnx.load_from_string(content)
    constants = {each.name: numpy_helper.to_array(each).astype(np.float64) for each in model.graph.initializer}
    segments, channels = json.loads({each.key: each.value for each in model.metadata_props}[_NAMES])
    return Learned(
        coefficients=constants[_COEFFICIENTS],
        variances=constants[_VARIANCES],
        segments=tuple(segments),
        channels=tuple(channels),
    )


def _single(values: Array) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return values.astype(np.float32)
