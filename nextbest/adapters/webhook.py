"""Posting an alert to the address of `NEXTBEST_ALERT_WEBHOOK`, which may be slow, wrong, or not there.

Belongs here: the POST and what can go wrong with it. Does not belong here: what is said, or to whom it was said already
(`orchestration.alerts`, `serving.stream_monitor`).
"""

import urllib.request
from http.client import HTTPException
from threading import Thread
from typing import Any, Final
from urllib.error import HTTPError

import msgspec

_TIMEOUT_S: Final = 5


def post(address: str, content: object) -> str:
    """Post `content` as JSON; returns what went wrong, or nothing, after five seconds at most."""
    body, said = msgspec.json.encode(content), list[str]()
    # In a thread: a receiver that answers a byte at a time never meets the limit of its socket.
    thread = Thread(target=lambda: said.append(_post(address, body)), daemon=True)
    thread.start()
    thread.join(_TIMEOUT_S)
    return said[0] if said else f"no answer in {_TIMEOUT_S} seconds"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST becomes a GET without its body: the alert would be lost, and look delivered."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _post(address: str, body: bytes) -> str:
    try:
        request = urllib.request.Request(  # noqa: S310  whoever sets the variable chooses the address
            address, data=body, headers={"content-type": "application/json"}, method="POST"
        )
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=_TIMEOUT_S):
            return ""
    except HTTPError as error:
        error.close()
        return str(error)
    except (OSError, ValueError, HTTPException) as error:
        return str(error) or type(error).__name__
