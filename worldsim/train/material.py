"""What a run learns from: episodes in memory, the windows that hold what is rare, and what a step takes of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from worldsim.errors import StoreError
from worldsim.model import ModelSpec, TextEncoder, encode_starts
from worldsim.store import RolloutStore
from worldsim.train.config import TrainConfig
from worldsim.train.data import Batch, Dataset, action_numbers, by_seed, mirrored
from worldsim.train.draws import Draws, Inputs
from worldsim.train.objective import balance, make_inputs
from worldsim.train.plan import Plan, make_plan

__all__ = ["Material", "Taken"]

_HELD_OUT = 0.02  # share of episodes for validation where no store is given
_NUM_STARTS = 32


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What one share of a step trains on."""

    batch: Batch
    inputs: Inputs
    draws: Draws
    """Of each window's own noise, drawn on in what follows."""


class Material:
    """All that a run learns from, in main memory.

    Args:
        store: To learn from.
        held_out: To validate on; a fiftieth of the episodes of ``store`` if None.
        spec: Of the model.
        settings: Of the run.
        num_context: Frames that the model starts from.

    Raises:
        WorldsimError: If an action cannot be mirrored, or no episode is long enough to learn or to start from.
    """

    def __init__(
        self,
        store: RolloutStore,
        held_out: RolloutStore | None,
        spec: ModelSpec,
        settings: TrainConfig,
        num_context: int,
    ) -> None:
        self.settings, self.num_context = settings, num_context
        self.mirror = action_numbers(spec, settings.mirror)
        ordered = np.array(by_seed(store))
        shuffled = np.random.default_rng(0).permutation(len(store))
        if held_out is None:
            apart = max(1, round(_HELD_OUT * len(store)))
            self.held_out = Dataset(store, spec, episodes=ordered[np.sort(shuffled[:apart])].tolist())
            rest = ordered[np.sort(shuffled[apart:])] if len(store) > 1 else ordered
            self.data = Dataset(store, spec, episodes=rest.tolist())
        else:
            self.held_out = Dataset(held_out, spec, episodes=by_seed(held_out))
            self.data = Dataset(store, spec, episodes=ordered.tolist())
        self.mean_change = self.data.mean_change() if settings.balance > 0 else 0.0
        self.rows = self.data.windows(settings.length)
        self.end_rows = self.rows[self.data.ends(self.rows, settings.length)]
        self.prompt_rows = self.rows[self.data.changes(self.rows, settings.length)]
        self.deep_rows = self.data.windows(settings.length, lead=num_context + settings.deep_steps)
        starts = self.data.starts(_NUM_STARTS, num_context, seed=0)
        if not starts:
            raise StoreError(
                f"a model starts from {num_context} frames, so training needs episodes of at least "
                f"{num_context + 1} steps; the longest here has {self.data.lengths.max()}"
            )
        self.starts_file = encode_starts(starts)
        self.features = torch.zeros(2, 1, 1)

    @property
    def captions(self) -> list[tuple[str, str]]:
        """English and Chinese of every caption of the episodes that are learned from."""
        return self.data.captions

    def read(self, text: TextEncoder) -> None:
        """Let a text encoder read the captions once; `take` gives what it made of them."""
        tables = [text.features([caption[k] for caption in self.captions] or [None]) for k in range(2)]
        width = max(table.shape[1] for table in tables)
        self.features = torch.stack([F.pad(table, (0, width - table.shape[1])) for table in tables])

    def plan(self, step: int, *, is_late: bool) -> Plan:
        """Return what a step trains on; see `make_plan`."""
        return make_plan(
            self.settings,
            step,
            rows=self.rows,
            end_rows=self.end_rows,
            prompt_rows=self.prompt_rows,
            deep_rows=self.deep_rows,
            num_context=self.num_context,
            is_late=is_late,
        )

    def take(self, plan: Plan) -> Taken:
        """Return what a plan, or a share of one, names."""
        settings = self.settings
        length = plan.lead + settings.length
        batch, text = self._windows(plan.rows - plan.lead, length, plan.is_mirrored, plan.language)
        draws = Draws(plan.seeds)
        weight = balance(batch.frames, self.mean_change, settings.balance) if settings.balance > 0 else None
        inputs = make_inputs(
            batch,
            text,
            draws,
            padding=plan.padding,
            text_drop_share=settings.text_drop_share,
            weight=weight,
        )
        return Taken(batch=batch, inputs=inputs, draws=draws)

    def _windows(
        self, rows: np.ndarray, length: int, is_mirrored: np.ndarray, language: np.ndarray
    ) -> tuple[Batch, torch.Tensor]:
        """Return windows of ``length`` steps, some seen in a mirror, and (B, T, F) the features of their captions."""
        batch = self.data.take(rows, length)
        if self.mirror:
            batch = mirrored(batch, is_mirrored, self.mirror)
        row = torch.from_numpy(language)[:, None]
        return batch, self.features[row, batch.caption.clamp_min(0)] * (batch.caption >= 0)[..., None]
