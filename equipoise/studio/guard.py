"""The guard around all pages of the studio: only its own page, in a browser that knows the token, gets answers.

Any page in the same browser can send requests to a server on loopback, so loopback alone protects nothing: see DNS
rebinding, CVE-2025-14279 (no check of Host) and CVE-2026-2611 (a path without a check of Origin) of MLflow.
"""

import ipaddress
import json
import secrets
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
ANY_ADDRESS = ("0.0.0.0", "::")
MAX_BODY = 64 * 1024
"""Bytes of the body of a request."""
JSON_TYPE, BYTES_TYPE = "application/json", "application/octet-stream"
"""Types of bodies; browsers send neither of them to a foreign origin without asking its permission first."""
LARGE_BODIES: Mapping[str, int] = {"/api/diagnose": 20 * 2**20, "/api/explore": 16 * 2**20}
"""Path -> bytes of its bodies, which contain a log or a picture."""
HEADERS: Mapping[str, str] = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
"""Headers of every answer. An answer keeps its own value of a header, such as the policy of a sandboxed page."""
OPEN_ADDRESS = "open the address that `equipoise studio` has printed"


@dataclass(frozen=True)
class Access:
    """Who may use a studio: requests for one of `hosts` (host:port) that know `token`.

    `nonce`, `session`: end of the name, and value, of the cookie. Both follow from the token, so that an open page
    survives a restart with the same --token, and two studios on one computer keep their cookies apart.
    """

    hosts: frozenset[str]
    port: int
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))

    @property
    def cookie(self) -> str:
        """Name of the cookie: browsers do not keep the cookies of two ports apart."""
        return f"equipoise-{self.port}-{_digest(self.token, b'name')[:8]}"

    @property
    def session(self) -> str:
        """Value of the cookie."""
        return _digest(self.token, b"session")

    @property
    def origins(self) -> frozenset[str]:
        """Origins of the studio's own pages."""
        return frozenset(f"http://{host}" for host in self.hosts)


def allowed_hosts(host: str, port: int) -> frozenset[str]:
    """Return the values of Host that a studio at an address accepts: host:port, without port for port 80.

    A studio at any address of the computer accepts its names and addresses; a foreign name that leads to it is refused.
    """
    names = {*LOOPBACK, f"[{host}]" if ":" in host else host.lower()}
    if host in ANY_ADDRESS:
        names |= {socket.gethostname().lower(), socket.getfqdn().lower(), *_own_addresses()}
    ports = ("", ":80") if port == 80 else (f":{port}",)
    return frozenset(f"{name}{end}" for name in names for end in ports)


def is_loopback(host: str) -> bool:
    """Return whether a host to listen at is reached from this computer alone."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _own_addresses() -> set[str]:
    try:
        addresses = {str(item[4][0]) for item in socket.getaddrinfo(socket.gethostname(), None)}
    except OSError:
        return set()
    return {f"[{address}]" if ":" in address else address for address in addresses}


def _digest(token: str, person: bytes) -> str:
    return blake2b(token.encode(), digest_size=24, person=person).hexdigest()


class Guard:
    """An ASGI application around another one that refuses every request that is not from the studio's own page.

    The checks, in this order: Host (421), Origin and Sec-Fetch-Site (403), the token, which is exchanged for a cookie
    (303), the cookie (401), the method (405), and of a POST the type (415) and the length (413) of the body.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app = app
        self.access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._answer(scope, receive, _with_headers(send))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope["headers"])
        if refusal := self._check_origin(headers):
            return await _refuse(scope, send, *refusal)
        token = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True).get("token")
        if scope["path"] == "/" and token is not None:
            return await self._exchange_token(scope, send, token[-1])
        if not secrets.compare_digest(headers.cookie(self.access.cookie).encode(), self.access.session.encode()):
            return await _refuse(scope, send, 401, f"this browser has no session of this studio; {OPEN_ADDRESS}")
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return await _refuse(scope, send, 405, f"the studio has no method {scope['method']}")
        if scope["method"] != "POST":
            return await self.app(scope, receive, send)
        limit = LARGE_BODIES.get(scope["path"], MAX_BODY)
        types = (JSON_TYPE, BYTES_TYPE) if scope["path"] in LARGE_BODIES else (JSON_TYPE,)
        if headers.one("content-type").partition(";")[0].strip().lower() not in types:
            return await _refuse(scope, send, 415, f"the body of a request must be of type {' or '.join(types)}")
        body = await _read_body(headers, receive, limit)
        if body is None:
            return await _refuse(scope, send, 413, f"the request is too large; the limit is {limit // 1024:,} KiB")
        return await self.app(scope, _replay(body, receive), send)

    def _check_origin(self, headers: "Headers") -> tuple[int, str] | None:
        """Return status and message if the request is for another host, or from another site."""
        hosts = headers.all("host")
        if len(hosts) != 1 or hosts[0].lower() not in self.access.hosts:
            return (
                421,
                f"this is not a host of this studio; {OPEN_ADDRESS}, with the same port at both ends of a tunnel",
            )
        foreign = [origin for origin in headers.all("origin") if origin.lower() not in self.access.origins]
        sites = [site for site in headers.all("sec-fetch-site") if site not in ("same-origin", "none")]
        if foreign or sites:
            return 403, f"the studio answers to its own page only; to open it, {OPEN_ADDRESS}, in the address bar"
        return None

    async def _exchange_token(self, scope: Scope, send: Send, token: str) -> None:
        """Give the cookie to a browser that knows the token, and remove the token from its address and history."""
        if not secrets.compare_digest(token.encode(), self.access.token.encode()):
            return await _refuse(scope, send, 401, f"this is not the token of this studio; {OPEN_ADDRESS}")
        cookie = f"{self.access.cookie}={self.access.session}; HttpOnly; SameSite=Strict; Path=/"
        headers = [(b"location", b"/"), (b"set-cookie", cookie.encode()), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


class Headers:
    """The headers of a request, where a name may be given several times."""

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        self._pairs = [(name.decode("latin-1").lower(), value.decode("latin-1").strip()) for name, value in pairs]

    def all(self, name: str) -> list[str]:
        """Return all values of a header."""
        return [value for other, value in self._pairs if other == name]

    def one(self, name: str) -> str:
        """Return the value of a header that is given once; "" otherwise."""
        values = self.all(name)
        return values[0] if len(values) == 1 else ""

    def cookie(self, name: str) -> str:
        """Return the value of a cookie; "" without it."""
        pairs = (part.strip().partition("=") for value in self.all("cookie") for part in value.split(";"))
        return next((value for other, _, value in pairs if other == name), "")


def _with_headers(send: Send) -> Send:
    """Add the headers of every answer."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = list(message.get("headers", []))
            names = {name.lower() for name, _ in own}
            added = [(name.encode(), text.encode()) for name, text in HEADERS.items() if name.encode() not in names]
            message = {**message, "headers": own + added}
        await send(message)

    return send_with_headers


async def _refuse(scope: Scope, send: Send, status: int, message: str) -> None:
    is_api = scope["path"].startswith("/api/")
    body = json.dumps({"error": message}).encode() if is_api else f"{message}\n".encode()
    kind = b"application/json" if is_api else b"text/plain; charset=utf-8"
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _read_body(headers: Headers, receive: Receive, limit: int) -> bytes | None:
    """Read the whole body; None if it is longer than `limit`, whatever its header says."""
    declared = headers.one("content-length")
    if declared.isdigit() and int(declared) > limit:
        return None
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return bytes(body)
        body += message.get("body", b"")
        if len(body) > limit:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a source that yields the body that was read, then what follows it."""
    parts = [body]

    async def receive_again() -> Message:
        return {"type": "http.request", "body": parts.pop(), "more_body": False} if parts else await receive()

    return receive_again
