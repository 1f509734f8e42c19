"""Rollouts on disk: immutable zarr v3 segments, a numbered commit log, and a reader fast enough for training."""

from worldsim.store.format import EpisodeInfo, Fault
from worldsim.store.formats import FORMATS, export_store, import_into
from worldsim.store.ingest import ingest, merge
from worldsim.store.inspect import card_text, contact_sheet, histograms, histograms_text
from worldsim.store.repair import Repair, repair
from worldsim.store.store import RolloutStore
from worldsim.store.verify import verify
from worldsim.store.windows import WindowBatch, Windows, eventful, rare, recent
from worldsim.store.writer import EpisodeWriter, SegmentWriter

__all__ = [
    "FORMATS",
    "EpisodeInfo",
    "EpisodeWriter",
    "Fault",
    "Repair",
    "RolloutStore",
    "SegmentWriter",
    "WindowBatch",
    "Windows",
    "card_text",
    "contact_sheet",
    "eventful",
    "export_store",
    "histograms",
    "histograms_text",
    "import_into",
    "ingest",
    "merge",
    "rare",
    "recent",
    "repair",
    "verify",
]
