"""True clips for a comparison: an episode of the truth, and the step at which the model takes over.

Clip i uses env seed S + i. Its warm-up, the true steps before the model starts, is drawn uniformly from WARM_UP with
that seed, so that the world moves when imagination begins. No clip is dropped in silence:

- if the truth ends inside the warm-up, a shorter one is drawn, so that at least 16 true steps follow it, or as many as
  the shortest warm-up leaves;
- if the truth ends before the shortest warm-up is over, the env seed S + i + k * episodes is tried, k = 1, 2, ...

Both are counted, and the counts go into the report.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from worldsim.collect.worker import Job, make_image_env, named_policy, play
from worldsim.errors import EnvError
from worldsim.rollout import Rollout

__all__ = ["CONDITIONS", "WARM_UP", "Clip", "Clips", "Pair", "conditions_of", "record_clips"]

WARM_UP = (20, 60)
"""Fewest and most true steps before the model takes over, both included."""
CONDITIONS = ("time_of_day", "weather", "traffic")
"""Factors of a world's variation that reports show and break figures down by, where the truth names them."""
_KEPT_STEPS = 16  # true steps that a shortened warm-up leaves, where there are as many
_MAX_SEEDS_PER_CLIP = 10


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A true episode and the step at which the model takes over."""

    truth: Rollout
    """From reset to the horizon, or to the truth's end if that comes first."""
    seed: int
    """Env seed, which the policy and the length of the warm-up are drawn from too."""
    start: int
    """Number of true steps before imagination; ``truth.obs[start]`` is the last frame the model sees."""
    horizon: int
    """Most steps that count after the start."""

    def __len__(self) -> int:
        """Return the number of true steps after the start."""
        return min(len(self.truth) - self.start, self.horizon)

    @property
    def last(self) -> np.ndarray:
        """The last context frame, (H, W, 3) uint8."""
        return self.truth.obs[self.start]

    @property
    def future(self) -> np.ndarray:
        """The true frames after the start, (len, H, W, 3) uint8; the model never sees them."""
        return self.truth.obs[self.start + 1 : self.start + 1 + len(self)]

    @property
    def actions(self) -> np.ndarray:
        """The actions after the start, (len, ...)."""
        return self.truth.action[self.start : self.start + len(self)]

    def context(self, num_frames: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the last ``num_frames`` frames up to the start and the actions between them."""
        first = self.start + 1 - num_frames
        return self.truth.obs[first : self.start + 1], self.truth.action[first : self.start]

    def window(self) -> Rollout:
        """Return the truth from the start on, as a rollout whose frame 0 is the last context frame.

        Its variation holds ``warm_up``, the number of steps between reset and that frame.
        """
        truth, start, end = self.truth, self.start, self.start + len(self)
        now = truth.caption_at(start)
        captions = [replace(now, t=0)] if now else []
        captions += [replace(caption, t=caption.t - start) for caption in truth.caption if start < caption.t <= end]
        return replace(
            truth,
            obs=truth.obs[start : end + 1],
            action=truth.action[start:end],
            reward=truth.reward[start:end],
            terminated=truth.terminated[start:end],
            truncated=(np.arange(start, end) == end - 1) & ~truth.terminated[start:end],
            state=None if truth.state is None else {body: rows[start : end + 1] for body, rows in truth.state.items()},
            caption=captions,
            variation={**truth.variation, "warm_up": start},
        )


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One clip as it was and as the model imagined it; same length, same actions, same frame 0."""

    truth: Rollout
    imagined: Rollout


def conditions_of(rollout: Rollout, t: int = 0) -> dict[str, str]:
    """Return the named factors of CONDITIONS that hold at step ``t`` of a rollout.

    A ``change`` of the variation, "factor=value", holds from its ``change_step`` after reset on; a window made by
    ``Clip.window`` begins ``warm_up`` steps after reset.
    """
    variation = rollout.variation
    found = {name: value for name in CONDITIONS if isinstance(value := variation.get(name), str)}
    factor, _, value = str(variation.get("change", "")).partition("=")
    if factor in found and variation["change_step"] <= variation.get("warm_up", 0) + t:
        found[factor] = value
    return found


@dataclass(frozen=True, kw_only=True)
class Clips:
    """The clips of one comparison and how they came about."""

    clips: tuple[Clip, ...]
    policy: str
    """Name of the policy that drove."""
    warm_ups_shortened: int
    """Clips whose first warm-up did not fit before the truth's end."""
    seeds_replaced: int
    """Seeds given up because the truth ended before the shortest warm-up."""


def record_clips(
    env_id: str,
    *,
    episodes: int,
    horizon: int,
    seed: int,
    num_context: int,
    env_kwargs: Mapping[str, Any] | None = None,
    check: Callable[[Clip], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Clips:
    """Drive the truth with the policy ``mixture`` and cut its episodes into clips, by the rule of this module.

    Args:
        env_id: Any Gymnasium id whose obs or render is an image.
        episodes: Number of clips.
        horizon: Most true steps after the start.
        seed: Clip i uses env seed ``seed + i``.
        num_context: Frames the model sees; a warm-up is never shorter than it needs.
        env_kwargs: Constructor arguments of the env.
        check: Called with the first clip, before the others are recorded; may raise.
        progress: Called with (clips done, clips wanted).

    Raises:
        EnvError: If the env cannot be made, has no image, or keeps ending before the warm-up is over.
    """
    shortest = max(WARM_UP[0], num_context - 1)
    longest = max(WARM_UP[1], shortest)
    job = Job(env_id=env_id, env_kwargs=dict(env_kwargs or {}), store_path="", run_id="")
    env, to_frame = make_image_env(env_id, job.env_kwargs)
    clips, num_shortened, num_replaced = [], 0, 0
    try:
        make_policy = named_policy(env, job)
        for i in range(episodes):
            for attempt in range(_MAX_SEEDS_PER_CLIP):
                clip_seed = seed + i + attempt * episodes
                rng = np.random.default_rng(clip_seed)
                start = int(rng.integers(shortest, longest + 1))
                truth = play(env, to_frame, make_policy, replace(job, max_steps=start + horizon), clip_seed)
                if len(truth) > shortest:
                    break
                num_replaced += 1
            else:
                raise EnvError(
                    f"compare needs episodes of more than {shortest} steps, to warm the world up; {env_id} ended "
                    f"earlier with {_MAX_SEEDS_PER_CLIP} seeds in a row, from {seed + i}; try another seed or env"
                )
            if len(truth) <= start:
                start = int(rng.integers(shortest, max(shortest, len(truth) - _KEPT_STEPS) + 1))
                num_shortened += 1
            clips.append(Clip(truth=truth, seed=clip_seed, start=start, horizon=horizon))
            if check and i == 0:
                check(clips[0])
            if progress:
                progress(i + 1, episodes)
    finally:
        env.close()
    return Clips(clips=tuple(clips), policy=job.policy, warm_ups_shortened=num_shortened, seeds_replaced=num_replaced)
