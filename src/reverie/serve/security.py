"""Who may ask for what: the checks that every request passes before anything reads it.

Each is the answer to an attack that happened to a program of this kind: DNS rebinding (CVE-2024-28224), pages of other
sites that drive a local server, servers open to the world, bodies without an end.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reverie.serve.errors import Refused, reply
from reverie.types import ReverieError

MOST_BODY_BYTES = 32_000_000
TOO_LARGE = f"The request has more than {MOST_BODY_BYTES:,} bytes: send less."
PROTECTED = ("/api/", "/v1/", "/metrics", "/openapi.json", "/tokenize", "/detokenize")
WITHOUT_KEY = ("/api/session",)  # where the key is given
COOKIE = "reverie_session"
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; media-src 'self' data: blob:; "
    "style-src 'self'; script-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True)
class Settings:
    """How the server is reached. api_key: what requests must carry. allow_origins: other sites whose pages may ask.

    served: name -> what `engine.load` takes, of models given on the command line. A `ReverieError` if the machine
    would be open to the network without a key.
    """

    host: str = "127.0.0.1"
    port: int = 8321
    api_key: str | None = None
    allow_origins: tuple[str, ...] = ()
    log_prompts: bool = False
    served: Mapping[str, str] = field(default_factory=dict)
    finish_seconds: float = 5.0

    def __post_init__(self) -> None:
        if not self.is_loopback and not self.api_key:
            raise ReverieError(f"On {self.host} others can reach the server: give --api-key, or keep to 127.0.0.1.")
        for origin in self.allow_origins:
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or not parts.netloc or parts.path or parts.query:
                raise ReverieError(f"{origin[:100]!r} is not an origin: write it as http://example.org:3000.")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches the server."""
        return self.host == "localhost" or _is_loopback(self.host)

    @property
    def hosts(self) -> frozenset[str] | None:
        """The names under which the server may be asked; None: any, where every request needs the key anyway."""
        return LOOPBACK_NAMES | {self.host} if self.is_loopback else None

    def session(self) -> str:
        """What a browser that has given the key keeps as a cookie, in place of the key itself."""
        assert self.api_key is not None
        return hmac.new(self.api_key.encode(), b"reverie session", hashlib.sha256).hexdigest()


class Guard:
    """Wraps an app: refuses what must not reach it, bounds bodies, and adds the headers that browsers obey."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        try:
            check(scope["method"], scope["path"], headers, self.settings)
            bounded = _bounded(headers, receive)
        except Refused as error:
            wanted = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
            await reply(scope["path"], error.status, str(error), headers=wanted)(scope, receive, send_safely)
            return
        await self.app(scope, bounded, send_safely)


def is_protected(path: str) -> bool:
    """Whether an address is no page but something that programs ask for."""
    return f"{path}/".startswith(PROTECTED)


def check(method: str, path: str, headers: Headers, settings: Settings) -> None:
    """`Refused` unless a request may come in: asked for by a name of ours, by a page of ours, with the key."""
    host = headers.get("host", "")
    if settings.hosts is not None and _hostname(host) not in settings.hosts:
        raise Refused(403, "The server is not known by this host name: use http://localhost.")
    is_page = method in ("GET", "HEAD") and not is_protected(path)
    if not is_page:
        _check_origin(headers, host, settings)
    is_preflight = method == "OPTIONS" and "access-control-request-method" in headers
    if settings.api_key is not None and is_protected(path) and not is_preflight and path not in WITHOUT_KEY:
        check_key(headers, settings)


def check_key(headers: Headers, settings: Settings) -> None:
    """`Refused` unless the request carries the key, or the cookie of a browser that gave it."""
    assert settings.api_key is not None
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and same(given.strip(), settings.api_key):
        return
    if same(_cookie(headers), settings.session()):
        return
    raise Refused(401, "The key is missing or wrong: send the header 'Authorization: Bearer KEY'.")


def same(given: str, wanted: str) -> bool:
    """Whether two secrets are the same, in a time that tells nothing."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode("utf-8", "replace"))


def _check_origin(headers: Headers, host: str, settings: Settings) -> None:
    """Pages of other sites may not ask: browsers tell whose page it is, other programs tell nothing."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin is not None:
        if origin in settings.allow_origins or origin in (f"http://{host}", f"https://{host}"):
            return
        raise Refused(403, "This page is not one of the server's own: allow it with --allow-origin.")
    if site is not None and site not in ("same-origin", "none"):
        raise Refused(403, "This page is not one of the server's own: allow it with --allow-origin.")


def _bounded(headers: Headers, receive: Receive) -> Receive:
    """Receives no more than a body may have, whatever its header claims."""
    length = headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit():
        raise Refused(400, "The Content-Length is not a number: send the size of the body in bytes.")
    if int(length[:20]) > MOST_BODY_BYTES:
        raise Refused(413, TOO_LARGE)
    received = 0

    async def bounded() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MOST_BODY_BYTES:
            raise HTTPException(413, TOO_LARGE)  # the one kind that FastAPI lets through while it reads a body
        return message

    return bounded


def _hostname(host: str) -> str:
    """ "localhost:8321" -> "localhost", "[::1]:8321" -> "::1"; nothing if it is no host."""
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return ""
    return "" if name is None else name.rstrip(".")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _cookie(headers: Headers) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value
