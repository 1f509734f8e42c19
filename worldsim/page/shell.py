"""The document around a page's parts: title, styles and script inline, and a policy that forbids any network."""

from __future__ import annotations

from html import escape
from importlib.resources import files

__all__ = ["page_html"]

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def page_html(title: str, body: str, *, style: str = "", script: str | None = None, connects: bool = False) -> str:
    """Return a whole HTML document that needs nothing but itself.

    Args:
        title: Plain text of the window's title.
        body: HTML of the page.
        style: CSS beside that of every page.
        script: What runs instead of the frame player.
        connects: Whether the script may talk to the server that the page came from.
    """
    folder = files("worldsim.page")
    policy = f"{_POLICY}; connect-src 'self'" if connects else _POLICY
    code = (folder / "page.js").read_text(encoding="utf-8") if script is None else script
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>
{(folder / "page.css").read_text(encoding="utf-8")}{style}</style>
</head>
<body>
<main>
{body}
</main>
<script>
{code}</script>
</body>
</html>
"""
