"""The replicas of a running server: how many there are, of which version, and the orders that change it.

Belongs here: carrying orders out, one at a time, beside the loop that watches the cluster. Does not belong here: how
Ray is told (`serving.cluster`), and how an order comes and is answered (`serving.orders`).
"""

import threading
import uuid
from dataclasses import dataclass, field

from serving.cluster import Cluster, ClusterError
from serving.orders import Order, Orders


@dataclass(slots=True)
class Fleet:
    """What `cluster` runs. Replicas of one `version` are left alone; those of another are replaced."""

    cluster: Cluster
    orders: Orders
    replicas: int = 0
    version: str = field(default_factory=lambda: uuid.uuid4().hex)
    _work: threading.Thread | None = None

    def start(self) -> None:
        """Start the cluster with its replicas, and return once the API answers.

        Raises:
            ClusterError: it does not start.

        """
        self.orders.close_all("the server started anew before it was done: ask again")
        self.replicas = self.orders.size()
        self.cluster.start(self.replicas, self.version)

    def look(self) -> None:
        """Begin with the next order, if there is one and nothing is under way."""
        is_free = self._work is None or not self._work.is_alive()
        if is_free and (order := self.orders.first()):
            self._work = threading.Thread(target=self.carry_out, args=(order,), daemon=True)
            self._work.start()

    def carry_out(self, order: Order) -> None:
        """Change the replicas as `order` says, and answer it; where that fails, what ran before goes on."""
        replicas = order.replicas or self.replicas
        version = uuid.uuid4().hex if order.fresh else self.version
        try:
            self.cluster.deploy(replicas, version)
        except ClusterError as error:
            self._go_back()
            self.orders.close(order, str(error))
            return
        self.replicas, self.version = replicas, version
        if order.replicas:
            self.orders.keep_size(order.replicas)
        self.orders.close(order)

    def _go_back(self) -> None:
        """Tell Ray what was: after a failure it would bring back no replica that dies."""
        try:
            self.cluster.deploy(self.replicas, self.version)
        except ClusterError:
            return  # the order's own failure is what is said
