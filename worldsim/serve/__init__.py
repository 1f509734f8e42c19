"""The browser player: both worlds side by side under the same keys.

The worlds live in one worker thread and one process, the page gets JPEG frames over a WebSocket, and whoever holds the
one seat drives. Needs the extra ``play``.
"""

from worldsim.serve.server import play

__all__ = ["play"]
