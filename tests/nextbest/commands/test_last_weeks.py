"""The last weeks of the demo: which redemption is to change a decision, and what becomes of the others."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from nextbest.commands.last_weeks import LastWeeks, ReplayError
from nextbest.settings import Settings

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
RESTS = "redeemed: until 2026-03-30"


class Shop:
    """Stands in for the API: what may be decided for a customer, until it was redeemed."""

    def __init__(self, may: dict[str, dict[str, float]]) -> None:
        self.may = may
        self.redeemed: list[tuple[str, str]] = []
        self.is_deaf = False
        self.explores = 0
        """After so many decisions one falls on the least likely."""

    def decide(self, asked: dict[str, Any]) -> dict[str, Any]:
        customer = asked["customer"]["customer_id"]
        known = [] if self.is_deaf else self.redeemed
        rest = {name for name in self.may[customer] if (customer, name) in known}
        free = {name: likelihood for name, likelihood in self.may[customer].items() if name not in rest}
        explained = [{"action": name, "selection_probability": likelihood} for name, likelihood in free.items()]
        explained += [{"action": name, "reason": RESTS} for name in rest]
        self.explores -= 1
        choose = min if self.explores == 0 else max
        best = choose(free, key=lambda name: free[name], default="do_nothing")
        return {"explanation": explained, "placements": [{"slots": [{"action": best}]}]}

    def take(self, asked: dict[str, Any]) -> dict[str, Any]:
        rows = [event["properties"] for event in asked["events"]]
        self.redeemed += [(row["customer_id"], row["action"]) for row in rows]
        return {"rejected": 0, "results": []}


@contextmanager
def serving(shop: Shop) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            answer = json.dumps(shop.decide(asked) if self.path == "/v1/decisions" else shop.take(asked)).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield str(server.server_port)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def weeks(tmp_path: Path) -> Callable[[Shop], AbstractContextManager[LastWeeks]]:
    """Call it for weeks whose last redemptions are of one offer by each of the shop's customers."""

    @contextmanager
    def make(shop: Shop) -> Iterator[LastWeeks]:
        with serving(shop) as port:
            rows = [{"customer_id": name, "action": "beef", "occurred_at": AT} for name in shop.may]
            yield LastWeeks(Settings(home=tmp_path, http_port=int(port)), "key", to_come=rows)

    return make


def test_the_redemption_of_what_is_decided_changes_the_decision(weeks: Any) -> None:
    """Before any that is only likely; the others come too."""
    shop = Shop({"a": {"beef": 0.9, "milk": 0.1}, "b": {"beef": 0.4, "milk": 0.6}})
    with weeks(shop) as last:
        change = last.change()
    assert (change.customer_id, change.before, change.after, change.reason) == ("a", "beef", "milk", RESTS)
    assert shop.redeemed == [("a", "beef"), ("b", "beef")]


def test_where_none_is_decided_the_likeliest_is_taken(weeks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nextbest.commands.last_weeks._TRIES", 5)
    shop = Shop({"a": {"beef": 0.3, "milk": 0.7}, "b": {"beef": 0.4, "milk": 0.6}, "c": {"milk": 1.0}})
    with weeks(shop) as last:
        assert last.change().customer_id == "b"


def test_what_is_decided_now_and_then_is_waited_for(weeks: Any) -> None:
    """The decision before the event is one that proposed the offer."""
    shop = Shop({"a": {"beef": 0.4, "milk": 0.6}})
    shop.explores = 9
    with weeks(shop) as last:
        change = last.change()
    assert (change.before, change.after) == ("beef", "milk")


@pytest.mark.parametrize("may", [{"milk": 1.0}, {"beef": 0.0, "milk": 1.0}])
def test_an_offer_that_could_not_have_been_decided_changes_nothing(weeks: Any, may: dict[str, float]) -> None:
    with weeks(Shop({"a": may})) as last:
        assert last.change() is None


def test_what_has_come_already_changes_nothing_again(weeks: Any) -> None:
    """A second demo in the same home."""
    shop = Shop({"a": {"beef": 0.9, "milk": 0.1}})
    shop.redeemed.append(("a", "beef"))
    with weeks(shop) as last:
        assert last.change() is None


def test_a_change_that_no_decision_sees_is_an_error(weeks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nextbest.commands.last_weeks._SEEN_WITHIN_S", 0.05)
    shop = Shop({"a": {"beef": 0.9, "milk": 0.1}})
    shop.is_deaf = True
    with weeks(shop) as last, pytest.raises(ReplayError, match="nextbest log status"):
        last.change()
