"""How far the imagined world is from the true one: comparisons, figures, reports."""

from worldsim.evaluate.clips import Pair
from worldsim.evaluate.compare import compare
from worldsim.evaluate.demo import demo
from worldsim.evaluate.report import Report
from worldsim.evaluate.sheet import contact_sheet

__all__ = ["Pair", "Report", "compare", "contact_sheet", "demo"]
