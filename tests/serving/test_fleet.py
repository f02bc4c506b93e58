"""The replicas of a running server: what an order makes of them, and what is left when it fails."""

from dataclasses import dataclass, field

import pytest

from nextbest.settings import Settings
from serving.cluster import Cluster, ClusterError
from serving.fleet import Fleet
from serving.orders import Order, Orders, Outcome


@dataclass(frozen=True, slots=True)
class StandInCluster(Cluster):
    """Keeps what it was told, and cannot do what it is told not to."""

    told: list[tuple[int, str]] = field(default_factory=list)
    refused: set[int] = field(default_factory=set)

    def start(self, replicas: int, version: str) -> None:
        self.deploy(replicas, version)

    def deploy(self, replicas: int, version: str) -> None:
        self.told.append((replicas, version))
        if replicas in self.refused:
            raise ClusterError("no memory is left")


@pytest.fixture
def cluster(settings: Settings) -> StandInCluster:
    return StandInCluster(settings)


@pytest.fixture
def fleet(cluster: StandInCluster) -> Fleet:
    fleet = Fleet(cluster, Orders(cluster.settings))
    fleet.start()
    return fleet


def test_scaling_leaves_the_version(fleet: Fleet, cluster: StandInCluster) -> None:
    """Replicas that run are not replaced, and a later server has as many."""
    order = Order(replicas=4)
    fleet.carry_out(order)
    assert cluster.told == [(1, fleet.version), (4, fleet.version)]
    assert fleet.orders.outcome(order) == Outcome()
    assert fleet.orders.size() == 4


def test_rolling_changes_the_version_and_no_more(fleet: Fleet, cluster: StandInCluster) -> None:
    """As many replicas as there were, all of another version."""
    fleet.carry_out(Order(replicas=2))
    fleet.carry_out(Order(fresh=True))
    (_, first), (_, scaled), (replicas, rolled) = cluster.told
    assert (replicas, first) == (2, scaled)
    assert rolled == fleet.version != first


def test_after_a_failure_ray_is_told_what_was(fleet: Fleet, cluster: StandInCluster) -> None:
    """The order is answered with the reason; size and version are as before."""
    cluster.refused.add(64)
    order = Order(replicas=64)
    fleet.carry_out(order)
    assert cluster.told == [(1, fleet.version), (64, fleet.version), (1, fleet.version)]
    assert fleet.orders.outcome(order) == Outcome("no memory is left")
    assert (fleet.replicas, fleet.orders.size()) == (1, 1)


def test_orders_are_carried_out_one_after_the_other(fleet: Fleet, cluster: StandInCluster) -> None:
    """Beside the loop that looks, which goes on watching the cluster."""
    orders = [Order(replicas=2), Order(replicas=3)]
    for order in orders:
        fleet.orders.give(order)
    while fleet.orders.first():
        fleet.look()
    assert [replicas for replicas, _ in cluster.told] == [1, 2, 3]
    assert [fleet.orders.outcome(order) for order in orders] == [Outcome()] * 2


def test_a_server_that_starts_anew_has_what_it_was_scaled_to(fleet: Fleet, cluster: StandInCluster) -> None:
    """And gives no answer to an order that it did not live to carry out, but one to ask again."""
    fleet.carry_out(Order(replicas=2))
    order = Order(replicas=5)
    fleet.orders.give(order)
    Fleet(cluster, fleet.orders).start()
    assert cluster.told[-1][0] == 2
    assert fleet.orders.outcome(order) == Outcome("the server started anew before it was done: ask again")
