"""Model sets: named by their content, and the same after a manifest."""

from datetime import UTC, datetime

import msgspec

from nextbest.model_set import FeatureSpec, Model, decode_manifest, encode_manifest, model_set

CLV = Model(
    name="clv",
    version="2",
    run_id="run",
    file="clv.onnx",
    sha256="a" * 64,
    features=(FeatureSpec("spend_91d", "customer"),),
    output="value",
)
PROPENSITY = Model(
    name="propensity",
    version="7",
    run_id="run",
    file="propensity.onnx",
    sha256="b" * 64,
    features=(FeatureSpec("response_rate", "action", 0.02),),
    action_features={"beef": {"response_rate": 0.1}},
    output="probability",
)
EARLY, LATE = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 2, tzinfo=UTC)


def test_id_is_the_content() -> None:
    """The same models are the same set, in whatever order and whenever made; anything else is another."""
    assert model_set([CLV, PROPENSITY], EARLY).id == model_set([PROPENSITY, CLV], LATE).id
    promoted = msgspec.structs.replace(PROPENSITY, version="8")
    refit = msgspec.structs.replace(PROPENSITY, sha256="c" * 64)
    assert len({model_set([CLV, other], EARLY).id for other in (PROPENSITY, promoted, refit)}) == 3


def test_manifest_round_trip() -> None:
    """A manifest says everything the set is."""
    made = model_set([CLV, PROPENSITY], EARLY)
    assert decode_manifest(encode_manifest(made)) == made
