"""What both clients need of httpx: where the API is, and who asks.

Belongs here: checking address and key, so that neither a message nor a `repr` ever shows a key. Does not belong here:
the clients.
"""

from typing import Any

import httpx

from nextbest import __version__


def options(url: str, key: str) -> dict[str, Any]:
    """The arguments of httpx's clients.

    Raises:
        ValueError: no address or key is like this; the message does not show the key.

    """
    address, key = httpx.URL(url), key.strip()
    if address.scheme not in {"http", "https"} or not address.host or address.userinfo or address.query:
        raise ValueError("the URL is like http://127.0.0.1:8000, with no password in it")
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("the key is not one: `nextbest keys create` makes one")
    headers = {
        "authorization": f"Bearer {key}",
        "content-type": "application/json",
        "user-agent": f"nextbest/{__version__}",
    }
    return {"base_url": address, "headers": headers}
