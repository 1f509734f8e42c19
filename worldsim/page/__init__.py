"""Pages that open from a file, without a network: the synchronised frame player, charts, and the shell around them.

The one idea to know: everything on a page follows one step. The player sets it, and every chart marks it and shows its
values there. Frames are stored losslessly, so that the difference a page shows is the difference there was.
"""

from worldsim.page.chart import Series, chart_html
from worldsim.page.player import Scene, Track, player_html
from worldsim.page.shell import page_html

__all__ = ["Scene", "Series", "Track", "chart_html", "page_html", "player_html"]
