"""A typed client of the API, for channels written in Python: `Client`, and `AsyncClient` for those with an event loop.

    with Client("http://127.0.0.1:8000", key=key) as client:
        decision = client.decide(customer="439", placements=["home_banner"])

Belongs here: the names that a channel imports. The bodies are those of `nextbest.wire`. Does not belong here: a setting
read from the environment; address and key are arguments. Importing it loads neither numpy nor pyarrow.
"""

from nextbest.client.asynchronous import AsyncClient
from nextbest.client.blocking import Client
from nextbest.client.calls import Customer, DecideOptions
from nextbest.client.failures import ApiError, ApiUnavailableError
from nextbest.wire import (
    Consents,
    CustomerExport,
    CustomerReference,
    DecisionDetails,
    DecisionResponse,
    Erasure,
    EventRow,
    EventsResponse,
    SwitchResponse,
)

__all__ = [
    "ApiError",
    "ApiUnavailableError",
    "AsyncClient",
    "Client",
    "Consents",
    "Customer",
    "CustomerExport",
    "CustomerReference",
    "DecideOptions",
    "DecisionDetails",
    "DecisionResponse",
    "Erasure",
    "EventRow",
    "EventsResponse",
    "SwitchResponse",
]
