"""The web application: one page, one WebSocket, and drives to take home."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import FastAPI, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.requests import HTTPConnection
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse

from worldsim.errors import MissingExtraError, WorldsimError
from worldsim.rollout import Rollout
from worldsim.serve.page import play_html
from worldsim.serve.player import Player, Refused
from worldsim.serve.record import gif_bytes, html_text, mp4_bytes, store_bytes
from worldsim.serve.seat import MAX_WAITING, Seat
from worldsim.serve.worlds import Worlds

__all__ = ["make_app"]

_KINDS: dict[str, tuple[str, Callable[[Rollout, Rollout], bytes]]] = {
    "gif": ("image/gif", gif_bytes),
    "mp4": ("video/mp4", mp4_bytes),
    "zip": ("application/zip", store_bytes),
    "html": ("text/html; charset=utf-8", lambda imagined, true: html_text(imagined, true).encode()),
}
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",  # an address may hold the token
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def make_app(
    worlds: Worlds,
    *,
    seed: int = 0,
    real_time: bool = True,
    token: str | None = None,
    hosts: Sequence[str] | None = None,
) -> FastAPI:
    """Return the application of a pair of worlds.

    Args:
        worlds: What is driven first, and what a page may go to.
        seed: Env seed of the first drive of a page.
        real_time: Whether the worlds keep their own time at first.
        token: Every address must carry it as ``?token=``; None asks for none.
        hosts: Names that the server answers to, since another site's name may be made to point here; None takes any.
    """
    thread = ThreadPoolExecutor(1, thread_name_prefix="worlds")
    seat = Seat()
    drivers: dict[str, Player] = {}
    packing = asyncio.Lock()

    async def work(call: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(thread, call, *args)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        thread.shutdown(cancel_futures=True)

    app = FastAPI(title="worldsim play", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    def may_enter(connection: HTTPConnection) -> bool:
        name = connection.headers.get("host", "").rsplit(":", 1)[0]
        given = connection.query_params.get("token", "")
        is_called_right = hosts is None or name in hosts
        return is_called_right and (token is None or secrets.compare_digest(given.encode(), token.encode()))

    @app.get("/")
    async def page(request: Request) -> Response:
        if not may_enter(request):
            return PlainTextResponse("Open this player by the address that it printed.", 403)
        return HTMLResponse(play_html(worlds.pair.env.model.name, worlds.pair.truth.facts.env_id), headers=_HEADERS)

    @app.get("/gallery")
    async def gallery(request: Request) -> Response:
        if not may_enter(request):
            return PlainTextResponse("Open this player by the address that it printed.", 403)
        try:
            return JSONResponse(await asyncio.to_thread(worlds.gallery), headers=_HEADERS)
        except WorldsimError as error:
            return PlainTextResponse(str(error), 409)

    @app.get("/drive/{key}.{kind}")
    async def download(request: Request, key: str, kind: str) -> Response:
        player = drivers.get(key)
        if not may_enter(request) or player is None or kind not in _KINDS:
            return PlainTextResponse("There is no such drive; the page that drove it must be open.", 404)
        media_type, pack = _KINDS[kind]
        async with packing:
            try:
                imagined, true = await work(player.drive.rollouts)
            except WorldsimError as error:
                return PlainTextResponse(str(error), 409)
            try:
                data = await asyncio.to_thread(pack, imagined, true)
            except MissingExtraError as error:
                return PlainTextResponse(str(error), 501)
        name = f"worldsim-imagined-{player.drive.seed}.{kind}"
        headers = {**_HEADERS, "Content-Disposition": f'attachment; filename="{name}"'}
        return Response(data, media_type=media_type, headers=headers)

    @app.websocket("/ws")
    async def connect(socket: WebSocket) -> None:
        if not _same_origin(socket) or not may_enter(socket):
            await socket.close(1008)  # before it is accepted: the browser sees 403
            return
        await socket.accept()
        if seat.is_full:
            await socket.close(1013, f"{MAX_WAITING} pages are waiting already; try later")
            return
        player = Player(socket, worlds, work, seed=seed, key=secrets.token_urlsafe(16), real_time=real_time)

        async def drive_in_turn() -> None:
            async with seat.taken(lambda ahead: player.tell(kind="queue", ahead=ahead)):
                drivers[player.key] = player
                try:
                    await player.play()
                finally:
                    del drivers[player.key]

        await _first_to_end(socket, player.read(), player.send(), drive_in_turn())

    return app


async def _first_to_end(socket: WebSocket, *loops: Awaitable[None]) -> None:
    """Run a connection's loops until one ends, then the connection ends, with the reason if it was refused."""
    tasks = [asyncio.ensure_future(loop) for loop in loops]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        error = None if task.cancelled() else task.exception()
        with contextlib.suppress(RuntimeError):  # closed from the other side in the meantime
            if isinstance(error, Refused):
                await socket.close(error.code, error.reason)
                return
            if error is not None and not isinstance(error, WebSocketDisconnect):
                await socket.close(1011, "the player failed")
                raise error


def _same_origin(socket: WebSocket) -> bool:
    """Whether the page that connects came from here; programs, which send no origin, may connect."""
    origin = socket.headers.get("origin")
    return origin is None or origin.split("://", 1)[-1] == socket.headers.get("host")
