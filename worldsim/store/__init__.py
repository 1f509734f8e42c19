"""Rollouts on disk: immutable zarr v3 segments, a numbered commit log, and a reader fast enough for training."""

from worldsim.store.format import EpisodeInfo, Fault
from worldsim.store.store import RolloutStore, SegmentWriter

__all__ = ["EpisodeInfo", "Fault", "RolloutStore", "SegmentWriter"]
