"""Any Gymnasium env into a store: policies, worker processes, resumable runs."""

from worldsim.collect.collect import Progress, collect
from worldsim.collect.fingerprint import env_fingerprint
from worldsim.collect.interrupt import interrupt_after
from worldsim.collect.policies import policies_of
from worldsim.collect.progress import show_progress

__all__ = ["Progress", "collect", "env_fingerprint", "interrupt_after", "policies_of", "show_progress"]
