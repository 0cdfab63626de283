"""Checks every request: its origin, its secret and its size.

Any page in the browser, and any program on this machine, can send requests to a server on it. So Host, Origin and a secret are
checked, in this order; only this server's own page can read answers.
"""

import ipaddress
import secrets
import socket

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN = "x-psal-token"
API = "/api/"
UPLOADS = "/api/references"  # the one place that takes pictures
LARGEST_BODY = 1 << 20  # bytes of JSON
LARGEST_UPLOAD = 64 << 20
NOTHING = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="  # of an empty style: see index.html
HEADERS = {
    "content-security-policy": f"default-src 'none'; script-src 'self'; style-src 'self' '{NOTHING}'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",  # photographs do not belong in the browser's cache
}


class Guard:
    """Lets through requests from this server's own page only.

    Args:
        port: that the server listens on. token: the secret.
        anywhere: whether other machines may connect too, by any address or this machine's name; other names for this machine's
            address (DNS rebinding) are still refused.
    """

    def __init__(self, inner: ASGIApp, port: int, token: str, anywhere: bool = False):
        self.inner, self.port, self.token, self.anywhere = inner, port, token, anywhere
        self.names = {"127.0.0.1", "localhost", "[::1]"} | ({socket.gethostname().lower()} if anywhere else set())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *own]
            await send(message)

        if refusal is not None:
            await refusal(scope, receive, sealed)
            return
        body = await _read(receive, _limit(scope["path"]))
        if body is None:
            await refused(413, "the request is too large")(scope, receive, sealed)
            return
        told = False

        async def whole() -> Message:
            nonlocal told
            if told:
                return await receive()  # waits until the client leaves
            told = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.inner(scope, whole, sealed)

    def _refusal(self, scope: Scope, headers: Headers) -> JSONResponse | None:
        if len(headers.getlist("host")) != 1 or not self._is_own(headers["host"]):
            return refused(403, "the request names another host")
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        if origin is not None and (not origin.startswith("http://") or not self._is_own(origin.removeprefix("http://"))):
            return refused(403, "another page asks")
        if site not in ("same-origin", "none"):
            return refused(403, "another page asks")
        given = headers.get(TOKEN, "")
        if scope["path"].startswith(API) and not secrets.compare_digest(given.encode(), self.token.encode()):
            return refused(403, "the token is missing or wrong: open the address that psal paint printed")
        size = headers.get("content-length", "0")
        if not size.isdigit() or int(size) > _limit(scope["path"]):
            return refused(413, "the request is too large")
        return None

    def _is_own(self, host: str) -> bool:
        name, _, port = (host if ":" in host else f"{host}:80").lower().rpartition(":")
        if port != str(self.port):
            return False
        if name in self.names:
            return True
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return self.anywhere


async def _read(receive: Receive, most: int) -> bytes | None:
    """The body of a request, or None if it exceeds `most` bytes. Its stated length is not trusted."""
    body = b""
    while True:
        message = await receive()
        part: bytes = message.get("body", b"")
        body += part
        if len(body) > most:
            return None
        if not message.get("more_body", False):
            return body


def refused(status: int, text: str) -> JSONResponse:
    return JSONResponse({"error": text}, status)


def _limit(path: str) -> int:
    return LARGEST_UPLOAD if path == UPLOADS else LARGEST_BODY
