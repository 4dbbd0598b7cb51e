"""The page's server: a Starlette application over a `Gallery`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, get_args

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from seas_runtime.dataset.decisions import VERDICTS, Verdict
from seas_runtime.dataset.lines import TOP_INDEX
from seas_runtime.dataset.review.album import LARGE, THUMBNAIL, Size
from seas_runtime.dataset.review.assets import read_assets
from seas_runtime.dataset.review.gallery import MOST_ROWS, Gallery, StaleError
from seas_runtime.dataset.review.pictures import MOST_PIXELS, mask_png
from seas_runtime.errors import DataError, SeasError, SettingsError

_MOST_DECIDED = 200_000
_MOST_VIEWS = 64
_MOST_JSON = 1 << 23
_KEPT = {"Cache-Control": "private, max-age=86400, immutable"}  # addresses change with what they show
_STATUS: tuple[tuple[type[SeasError], int], ...] = ((DataError, 404), (StaleError, 409), (SettingsError, 403))


def application(gallery: Gallery) -> Starlette:
    """The application; its survey runs while it does.

    Every answer that is no picture is JSON; one that failed has a line under "error".
    """
    return Starlette(
        routes=_routes(gallery),
        lifespan=_surveying(gallery),
        exception_handlers={SeasError: _failed, HTTPException: _refused},
    )


def _routes(gallery: Gallery) -> list[Route]:
    """All addresses."""
    handlers = _Handlers(gallery)
    return [
        Route("/", _asset("index.html")),
        *(Route(f"/page/{name}", _asset(name)) for name in read_assets()),
        Route("/api/gallery", handlers.gallery),
        Route("/api/pairs", handlers.pairs),
        Route("/api/changes", handlers.changes),
        Route("/api/views", handlers.views),
        Route("/api/figures", handlers.figures),
        Route("/api/decisions", handlers.decide, methods=["POST"]),
        Route("/api/masks/{index:int}", handlers.mend, methods=["PUT"]),
        Route("/api/masks/{index:int}", handlers.restore, methods=["DELETE"]),
        Route("/pair/{index:int}/image.png", handlers.image),
        Route("/pair/{index:int}/mask.png", handlers.mask),
        Route("/real/{number:int}/{size}", handlers.real),
    ]


class _Handlers:
    """What each address answers; those that are no coroutines run in threads."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery

    def gallery(self, _request: Request) -> Response:
        return JSONResponse(self._gallery.describe())

    def pairs(self, request: Request) -> Response:
        first, count = _number(request, "from"), _number(request, "count", MOST_ROWS)
        return JSONResponse(self._gallery.page(first, count))

    def changes(self, request: Request) -> Response:
        return JSONResponse(self._gallery.changes(_number(request, "revision"), _number(request, "surveyed")))

    def figures(self, request: Request) -> Response:
        verdict = request.query_params.get("decision")
        if verdict is not None and verdict not in VERDICTS:
            raise HTTPException(400, f"decision {verdict!r} found, one of {', '.join(VERDICTS)} expected")
        return JSONResponse(self._gallery.figures(request.query_params.get("type"), verdict))

    def image(self, request: Request) -> Response:
        data = self._gallery.album.file(request.path_params["index"])
        return Response(data, media_type="image/png", headers=_KEPT)

    def mask(self, request: Request) -> Response:
        generated = request.query_params.get("generated") == "1"
        mask = self._gallery.album.mask(request.path_params["index"], generated=generated)
        return Response(mask_png(mask), media_type="image/png", headers=_KEPT)

    def views(self, request: Request) -> Response:
        words = request.query_params.get("pairs", "").split(",")
        if len(words) > _MOST_VIEWS:
            raise HTTPException(400, f"{len(words)} pairs found, at most {_MOST_VIEWS} expected")
        return JSONResponse(self._gallery.album.views(_whole("pairs", word) for word in words))

    def real(self, request: Request) -> Response:
        size: Size = request.path_params["size"]
        if size not in get_args(Size):
            raise HTTPException(404, f"{size!r} found, one of {', '.join(get_args(Size))} expected")
        side = LARGE if size == "large" else THUMBNAIL
        data = self._gallery.album.real_view(size, request.path_params["number"], side)
        return Response(data, media_type="image/png" if size == "overlay" else "image/jpeg", headers=_KEPT)

    async def decide(self, request: Request) -> Response:
        verdicts = _verdicts(await _body(request, _MOST_JSON))
        return await self._changed(lambda: self._gallery.decide(verdicts))

    async def mend(self, request: Request) -> Response:
        index, base = request.path_params["index"], _number(request, "base")
        bits = await _body(request, MOST_PIXELS // 8 + 1)
        return await self._changed(lambda: [self._gallery.mend(index, bits, base)])

    async def restore(self, request: Request) -> Response:
        index, base = request.path_params["index"], _number(request, "base")
        return await self._changed(lambda: [self._gallery.restore(index, base)])

    async def _changed(self, change: Callable[[], list[Any]]) -> Response:
        return JSONResponse({"changes": await run_in_threadpool(change)})


def _asset(name: str) -> Callable[[Request], Response]:
    data, kind = read_assets()[name]

    def answer(_request: Request) -> Response:
        return Response(data, media_type=kind)

    return answer


def _surveying(gallery: Gallery) -> Callable[[Starlette], Any]:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        gallery.survey.start()
        try:
            yield
        finally:
            await run_in_threadpool(gallery.survey.stop)

    return lifespan


def _number(request: Request, name: str, default: int = 0) -> int:
    return _whole(name, request.query_params.get(name, str(default)))


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise HTTPException(400, f"{name} {text!r} found, a number expected")
    return int(text)


async def _body(request: Request, most: int) -> bytes:
    """The body of a request, of at most `most` bytes."""
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > most:
            raise HTTPException(413, f"more than {most} bytes found")
    return bytes(data)


def _verdicts(body: bytes) -> list[tuple[int, Verdict]]:
    """Decisions from {"decisions": [[index, verdict], ...]}."""
    try:
        rows = json.loads(body)["decisions"]
        verdicts = [(index, verdict) for index, verdict in rows]
        whole = all(type(i) is int and 0 <= i <= TOP_INDEX and v in VERDICTS for i, v in verdicts)
    except (ValueError, KeyError, TypeError, RecursionError):
        whole, verdicts = False, []
    if not whole or not 0 < len(verdicts) <= _MOST_DECIDED:
        raise HTTPException(400, 'expected {"decisions": [[index, "accept" | "reject" | "undecided"], ...]}')
    return verdicts


async def _failed(_request: Request, error: Exception) -> Response:
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 507)
    return JSONResponse({"error": getattr(error, "message", str(error))}, status)


async def _refused(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return JSONResponse({"error": getattr(error, "detail", "")}, status)
