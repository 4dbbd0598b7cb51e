"""Who may talk to the page: this machine's browser, at the address that was printed, and nobody else.

Every request needs the token: as `?token=` of the page's address, which sets a cookie; as that cookie; or as the header
X-Seas-Token (for scripts). The host must be this machine by name, so no page elsewhere gets in by a name that it lets
point here (DNS rebinding). A request that changes something, or that says where it comes from, must come from the page
itself, so no page elsewhere, nor one at another port of this machine, gets in by the cookie (CSRF).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HOSTS = {"127.0.0.1", "localhost"}
_READING = {"GET", "HEAD"}
_CONTENT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _CONTENT,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


class Guard:
    """Stands before an application: passes on the page's own requests, answers others with 403."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app = app
        self.token = token
        self.cookie = f"seas-review-{hashlib.sha256(token.encode()).hexdigest()[:8]}"  # cookies know no ports
        self._once: set[str] = set()

    def once(self) -> str:
        """A token that opens the page one time: for a browser's command line, which other users can read."""
        token = secrets.token_urlsafe(32)
        self._once.add(token)
        return token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection (ASGI); of those that are not HTTP only the server's own start and end are passed on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        request = Request(scope)
        entering = self._enters(request)
        if (why := self._refusal(request, entering)) is not None:
            refusal = PlainTextResponse(why + "\n", 403)
            await refusal(scope, receive, self._sealed(send, give_cookie=False))
            return
        await self.app(scope, receive, self._sealed(send, give_cookie=entering))

    def _refusal(self, request: Request, entering: bool) -> str | None:
        """Why a request is refused; None where it is not."""
        host = request.headers.get("host", "")
        if host.partition(":")[0].lower() not in _HOSTS:
            return "This page answers at 127.0.0.1 only."
        origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
        own = f"http://{host}"
        if origin not in {None, own} or (request.method not in _READING and origin != own):
            return "This request comes from another page."
        if site not in {None, "same-origin", "none"} and not entering:
            return "This request comes from another page."
        if not (entering or self._knows(request)):
            return "Open the whole address that seas-data review printed, with its token."
        return None

    def _enters(self, request: Request) -> bool:
        """Whether it opens the page with a token in its address."""
        given = request.query_params.get("token", "")
        if request.method != "GET" or request.url.path != "/" or not given:
            return False
        if given in self._once:
            self._once.discard(given)
            return True
        return self._is_token(given)

    def _knows(self, request: Request) -> bool:
        given = request.cookies.get(self.cookie), request.headers.get("x-seas-token")
        return any(self._is_token(value) for value in given if value)

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.token.encode())

    def _sealed(self, send: Send, *, give_cookie: bool) -> Send:
        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("Cache-Control", "no-store")
                if give_cookie:
                    headers.append("Set-Cookie", f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict")
            await send(message)

        return sealed
