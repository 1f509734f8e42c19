"""How far the imagined world is from the true one: comparisons, figures, reports."""

from worldsim.evaluate.compare import compare
from worldsim.evaluate.report import Pair, Report

__all__ = ["Pair", "Report", "compare"]
