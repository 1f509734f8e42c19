"""What a comparison was made with, and what makes its figures doubtful."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch

from worldsim.collect import env_fingerprint
from worldsim.model import WorldModel
from worldsim.train.git import commit_name

__all__ = ["provenance", "setting_warnings"]


def provenance() -> dict[str, Any]:
    """Return when, on what and with which code a figure is taken: date, machine, threads, torch, commit."""
    cpuinfo = Path("/proc/cpuinfo")
    names = (
        [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")] if cpuinfo.exists() else []
    )
    processor = names[0].partition(":")[2].strip() if names else platform.machine()
    return {
        "date": date.today().isoformat(),
        "machine": f"{processor}, {os.cpu_count()} cores",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "commit": commit_name(),
    }


def setting_warnings(model: WorldModel, env_id: str, env_kwargs: Mapping[str, Any], seeds: Sequence[int]) -> list[str]:
    """Return a sentence for everything that makes figures doubtful: another or a changed truth, seen seeds.

    Args:
        model: What is compared.
        env_id, env_kwargs: The truth it is compared with.
        seeds: Env seeds of the clips.
    """
    if env_id != model.spec.env_id:
        return [f"{model.name} was trained on {model.spec.env_id or 'frames of no named env'}, not on {env_id}"]
    found = []
    fingerprint = model.meta.get("env_fingerprint")
    same_arguments = dict(env_kwargs) == dict(model.spec.env_kwargs)
    if fingerprint is not None and same_arguments and fingerprint != env_fingerprint(env_id, env_kwargs):
        found.append(
            f"{env_id} no longer looks as it did when {model.name} was trained (its frames have another fingerprint): "
            "the figures are too low; train the model again"
        )
    if trained := model.card.get("seeds"):
        low, high = trained["min"], trained["max"]
        num_shared = sum(low <= seed <= high for seed in seeds)
        if num_shared:
            found.append(
                f"{num_shared} of {len(seeds)} env seeds lie in the range {low} to {high} that {model.name} saw in "
                "training: the figures flatter it; take seeds from 200,000 on"
            )
    return found
