"""Check host, token and origin of every request; set headers of every answer."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import SplitResult, parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import (
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from harmony_split.limits import RefusedError

LOOPBACK = ("localhost", "127.0.0.1", "::1")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
COOKIE = "harmony_split_token"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; "
    "img-src 'self'; media-src blob:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def policy(nonce: str = "none") -> str:
    """Write the content security policy; the nonce is that of one style element."""
    return POLICY.format(nonce=nonce)


class Guard:
    """Admits requests from the page itself or from a program.

    Args:
        app: The application that answers them.
        token: Secret that a request shows, as ``Authorization: Bearer TOKEN``, as a
            cookie, or as ``/?token=TOKEN``, which sets the cookie; None for none.
        hosts: Host names that are accepted without a token, so that a foreign page
            cannot reach the server under a name of its own.
    """

    def __init__(
        self, app: ASGIApp, token: str | None = None, hosts: Iterable[str] = LOOPBACK
    ) -> None:
        self._app = app
        self._token = token
        self._hosts = {*hosts, *LOOPBACK}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Content-Security-Policy", policy())
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        answer = self._answer(scope) or self._app
        await answer(scope, receive, send_with_headers)

    def _answer(self, scope: Scope) -> Response | None:
        """Return the answer to a request that is refused, else None."""
        headers = Headers(scope=scope)
        try:
            self._check_host(headers)
            if scope["method"] not in SAFE_METHODS:
                _check_origin(headers)
        except RefusedError as error:
            return JSONResponse(error.body, error.status)
        return self._check_token(scope, headers)

    def _check_host(self, headers: Headers) -> None:
        name = _split(f"//{headers.get('host', '')}").hostname
        if self._token is None and name not in self._hosts:
            raise RefusedError(
                "cross_origin",
                f"The server is not called {name}; open it by the address that it "
                "prints when it starts.",
            )

    def _check_token(self, scope: Scope, headers: Headers) -> Response | None:
        if self._token is None:
            return None
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if scope["path"] == "/" and self._same(query.get("token", [""])[0]):
            answer = RedirectResponse("/", 303)
            secure = scope.get("scheme") == "https"
            answer.set_cookie(
                COOKIE, self._token, httponly=True, samesite="strict", secure=secure
            )
            return answer
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._same(shown):
            return None
        if self._same(_cookie(headers.get("cookie", ""))):
            return None
        error = RefusedError(
            "not_authorised",
            "This server requires its token; open the address with ?token=TOKEN that "
            "it prints when it starts, or send 'Authorization: Bearer TOKEN'.",
        )
        more = {"WWW-Authenticate": "Bearer"}
        if "text/html" in headers.get("accept", ""):  # a person with a browser
            return PlainTextResponse(str(error), error.status, more)
        return JSONResponse(error.body, error.status, more)

    def _same(self, shown: str) -> bool:
        return hmac.compare_digest(shown.encode(), (self._token or "").encode())


def _split(address: str) -> SplitResult:
    """Split an address; an invalid one is that of another site."""
    try:
        return urlsplit(address)
    except ValueError:
        return SplitResult("", "", "", "", "")


def _check_origin(headers: Headers) -> None:
    """Refuse requests of other pages; programs such as curl send no origin."""
    origin = headers.get("origin")
    site = headers.get("sec-fetch-site", "none")
    foreign = origin is not None and _split(origin).netloc != headers.get("host")
    if foreign or site not in ("same-origin", "none"):
        raise RefusedError(
            "cross_origin",
            "The request comes from a page of another site; only the page of this "
            "server may send it.",
        )


def _cookie(text: str) -> str:
    try:
        morsel = SimpleCookie(text).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""
