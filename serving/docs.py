"""The page that describes the API: Swagger UI, from files that are installed with it, so that it works offline.

Belongs here: the page and its files. Does not belong here: the description (`serving.openapi`).
"""

from importlib.util import find_spec
from pathlib import Path

_PACKAGE = "flask_swagger_ui"
FILES = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript", "start.js": "text/javascript"}
"""What the page is made of, by name its media type."""
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>nextbest: the decision API</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="page"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START = """\
SwaggerUIBundle({url: "openapi.json", dom_id: "#page", deepLinking: true, validatorUrl: null});
"""


def content(name: str) -> bytes:
    """One of `FILES`."""
    if name == "start.js":
        return _START.encode()
    spec = find_spec(_PACKAGE)  # found, not imported: Flask is of no use here
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(_PACKAGE)
    return (Path(spec.submodule_search_locations[0]) / "dist" / name).read_bytes()
