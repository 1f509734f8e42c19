"""Start the player: load the model, start the truth, open a port and the page."""

from __future__ import annotations

import ipaddress
import secrets
import socket
import webbrowser
from collections.abc import Callable
from typing import Any

from worldsim.errors import EnvError, MissingExtraError

__all__ = ["play"]

DEFAULT_PORT = 8777
_MAX_QUEUE = 32  # messages of one page that may be unread


def play(
    model: Any = "city-64",
    env_id: str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    opens_browser: bool = True,
    seed: int = 0,
    real_time: bool = True,
    sampler_steps: int | None = None,
    device: str = "cpu",
    threads: int | None = 1,
    uncertainty: str | None = None,
    on_ready: Callable[[str], None] = print,
) -> None:
    """Serve the player until Ctrl-C.

    Args:
        model: Name of a bundled model, path of a checkpoint or run, or a loaded model.
        env_id: The truth beside it; the model's own by default.
        host: Address to listen on. Beyond this machine, the page's address carries a token.
        port: Port; 0 takes a free one.
        opens_browser: Whether to open the page.
        seed: Env seed of a page's first drive, 0 to 2^31 - 1.
        real_time: Whether the worlds keep their own time at first, else they go as fast as they can.
        sampler_steps: Denoiser calls per frame at first.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: Torch threads.
        uncertainty: Path of a calibration of uncertainty; the one beside the checkpoint, if there is one, by default.
        on_ready: Called with the page's address when it can be opened.

    Raises:
        MissingExtraError: If the extra ``play`` is not installed.
        CheckpointError: If there is no such model.
        EnvError: If the truth cannot be made or does not fit the model, the seed is out of range, or the port is taken.
    """
    try:
        import fastapi  # noqa: F401
        import uvicorn
        import websockets  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(error.name or "fastapi", "play", "play in a browser") from None
    from worldsim.serve.app import make_app
    from worldsim.serve.worlds import Worlds, open_pair

    if not 0 <= seed < 2**31:
        raise EnvError(f"seed is a number from 0 to {2**31 - 1}; got {seed}")
    listener = _listen(host, port)
    options = {"sampler_steps": sampler_steps, "device": device, "threads": threads}
    worlds = Worlds(open_pair(model, env_id, uncertainty=uncertainty, **options), options)
    is_local = _is_loopback(host)
    token = None if is_local else secrets.token_urlsafe(16)
    try:
        app = make_app(
            worlds,
            seed=seed,
            real_time=real_time,
            token=token,
            hosts=["127.0.0.1", "localhost", "[::1]", host] if is_local else None,
        )
        config = uvicorn.Config(
            app,
            log_level="warning",
            ws="websockets-sansio",
            ws_max_size=4 * 1024,
            ws_max_queue=_MAX_QUEUE,
            ws_ping_interval=10,
            ws_ping_timeout=10,
            ws_per_message_deflate=False,  # JPEG does not shrink
            timeout_graceful_shutdown=2,
        )
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listener.getsockname()[1]}/{f'?token={token}' if token else ''}"
        on_ready(address)  # the port is open: who comes now waits for a moment
        if opens_browser:
            webbrowser.open(address)
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        worlds.pair.close()
        listener.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise EnvError(
            f"cannot listen on {host}:{port}: {reason}; choose another --port, or 0 for a free one"
        ) from None
    return listener


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
