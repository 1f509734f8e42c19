"""Any Gymnasium env into a store: policies, worker processes, resumable runs."""

from worldsim.collect.collect import Progress, collect
from worldsim.collect.policies import policies_of
from worldsim.collect.progress import show_progress

__all__ = ["Progress", "collect", "policies_of", "show_progress"]
