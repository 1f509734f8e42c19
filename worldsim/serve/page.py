"""The player's page: the document, with style and script inline."""

from __future__ import annotations

from html import escape
from importlib.resources import files

from worldsim.page import page_html

__all__ = ["play_html"]


def play_html(model: str, env_id: str) -> str:
    """Return the page as one HTML document; it connects to where it came from, and to nothing else.

    Args:
        model: Name of the imagined world's model.
        env_id: Id of the true world.
    """
    folder = files("worldsim.serve")
    read = {name: (folder / f"play.{name}").read_text(encoding="utf-8") for name in ("html", "css", "js")}
    body = read["html"].replace("{model}", escape(model)).replace("{env}", escape(env_id))
    return page_html(f"{model} beside {env_id}", body, style=read["css"], script=read["js"], connects=True)
