"""Two worlds under the same actions: the imagined one and the true one, from the same frames on.

A drive is a list of moments. Because the state of either world is a value, a moment that was kept can be gone back to:
that is what rewind and branch do.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from worldsim.errors import EnvError, PromptError
from worldsim.rollout import Caption, Rollout
from worldsim.serve.truth import TrueMoment, TruthFacts, TruthProcess
from worldsim.serve.watch import Watch
from worldsim.sim import Snapshot, WorldModelEnv

__all__ = ["MAX_BRANCHES", "Branch", "Drive", "Moment", "check_pair"]

MAX_BRANCHES = 8
WARM_STEPS = 10
"""True steps before a person takes over, if the model's context does not need more."""
_MODELS_END = "the model says that it ends"
_KEPT_ALL, _KEPT_SOME, _EVERY = 20, 600, 10  # steps back


@dataclass(frozen=True, kw_only=True)
class Moment:
    """Both worlds after step ``t``."""

    t: int
    action: np.ndarray | None
    """What led here; None at the start."""
    imagined: np.ndarray
    """(H, W, 3) uint8."""
    imagined_reward: float
    imagined_end: str
    """Why the imagined episode is over, or nothing."""
    true: TrueMoment
    """The truth; after its end, its last moment. Its ``snapshot`` is kept elsewhere, and for fewer moments."""
    true_t: int
    """The step of ``true``: ``t``, or that of its end."""
    prompt: str
    model_s: float
    """Time that the model took, seconds."""

    @property
    def divergence(self) -> float | None:
        """Mean absolute difference of the two frames, in [0, 1]; None after an end."""
        if self.true_t < self.t or (self.imagined_end and not self.model_s):
            return None
        return float(np.abs(self.imagined.astype(np.int16) - self.true.frame).mean() / 255)

    @property
    def is_over(self) -> bool:
        """Whether neither world goes on."""
        return bool(self.imagined_end and self.true.end)


@dataclass(frozen=True)
class _Kept:
    """What a moment is gone back to with."""

    imagined: Snapshot
    true: bytes


@dataclass(frozen=True, kw_only=True)
class Branch:
    """A moment that was kept, and how it came about."""

    number: int
    moments: tuple[Moment, ...]
    kept: Mapping[int, _Kept]
    seed: int

    @property
    def t(self) -> int:
        """The step that it leads back to."""
        return self.moments[-1].t


def check_pair(spec: Any, facts: TruthFacts) -> None:
    """Check that a model and a truth can be driven by the same actions and seen side by side.

    Raises:
        EnvError: If their spaces differ.
    """
    height, width = spec.height, spec.width
    _, action_space = spec.spaces()
    if action_space != facts.action_space:
        raise EnvError(f"the model takes actions of {action_space}, {facts.env_id} of {facts.action_space}")
    shape = getattr(facts.observation_space, "shape", None)
    if facts.observation_space.dtype == np.uint8 and shape != (height, width, 3):
        raise EnvError(f"the model imagines {height}x{width} frames, {facts.env_id} shows {shape}; set its size")


@dataclass
class Drive:
    """A person's (or a policy's) drive through both worlds. Not for several threads."""

    env: WorldModelEnv
    truth: TruthProcess
    watch: Watch | None = None
    """Reads the uncertainty of imagined steps, where the model is calibrated."""
    moments: list[Moment] = field(default_factory=list)
    """From the start to now."""
    branches: dict[int, Branch] = field(default_factory=dict)
    seed: int = 0
    """Env seed of the truth."""
    camera: str = ""
    """From where the truth is shown; empty for the camera of its frames."""
    _kept: dict[int, _Kept] = field(default_factory=dict)
    _next_branch: int = 1

    @property
    def now(self) -> Moment:
        """The present moment.

        Raises:
            EnvError: Before a reset.
        """
        if not self.moments:
            raise EnvError("the drive has not begun; call reset() first")
        return self.moments[-1]

    def reset(self, seed: int, prompt: str = "", variation: Mapping[str, Any] | None = None) -> Moment:
        """Begin a drive: a few true steps, which are the model's context; then both worlds go on from there.

        Args:
            seed: Env seed of the truth; the model's noise follows from it too.
            prompt: Asks both worlds for something; empty for nothing.
            variation: Factors of the truth to fix.

        Raises:
            EnvError: If the truth does not know a factor.
            PromptError: If neither world understood a word of the prompt.
        """
        num_steps = max(WARM_STEPS, self.env.model.config.num_context - 1)
        fixed = {"variation": dict(variation)} if variation else {}
        is_known = self._model_knows(prompt) if prompt else False
        try:
            asked = {"prompt": prompt} if prompt and self.truth.facts.takes_prompts else {}
            start = self.truth.ask("begin", seed, num_steps, fixed | asked, self.camera)
        except PromptError:
            if not is_known:
                raise
            start = self.truth.ask("begin", seed, num_steps, fixed, self.camera)
        caption = start.moment.caption[0] if start.moment.caption else ""
        context = {"frames": start.frames, "actions": start.actions, "caption": caption}
        frame, _ = self.env.reset(
            seed=seed, options={"start": context, "prompt": prompt} if is_known else {"start": context}
        )
        self.seed = start.seed
        self.moments, self._kept = [], {}
        self._forget_readings()
        moment = Moment(
            t=0,
            action=None,
            imagined=frame,
            imagined_reward=0.0,
            imagined_end="",
            true=start.moment,
            true_t=0,
            prompt=prompt,
            model_s=0.0,
        )
        return self._add(moment)

    def step(self, action: np.ndarray) -> Moment:
        """Advance both worlds by one action; the truth works while the model does.

        Raises:
            ActionError: If the action does not fit the space.
            EnvError: If neither world goes on.
        """
        now = self.now
        if now.is_over:
            raise EnvError("both episodes have ended; begin another one, rewind or go back to a branch")
        goes_on = not now.true.end
        if goes_on:
            self.truth.send("step", action)
        frame, reward, end, model_s = now.imagined, 0.0, now.imagined_end, 0.0
        try:
            if not now.imagined_end:
                before = self.env.snapshot().state
                begun = time.perf_counter()
                frame, reward, terminated, truncated, _ = self.env.step(action)
                model_s = time.perf_counter() - begun
                if self.watch is not None:
                    self.watch.look(now.t + 1, before, np.asarray(action), frame)
                end = _MODELS_END if terminated else f"{self.env.horizon} steps" * truncated
        finally:
            true = self.truth.receive() if goes_on else now.true
        moment = Moment(
            t=now.t + 1,
            action=np.asarray(action),
            imagined=frame,
            imagined_reward=reward,
            imagined_end=end,
            true=true,
            true_t=now.t + 1 if goes_on else now.true_t,
            prompt=now.prompt,
            model_s=model_s,
        )
        return self._add(moment)

    def act(self, policy: str) -> np.ndarray:
        """Return what one of the truth's policies does now, seeing the truth.

        Raises:
            EnvError: If there is no such policy, or the truth has ended.
        """
        if self.now.true.end:
            raise EnvError("a policy sees the true world, which has ended; drive on yourself, or begin again")
        return self.truth.ask("act", policy)

    def set_prompt(self, text: str) -> list[str]:
        """Ask both worlds for something else; return the words that neither knows.

        The imagined one may show it at once, the true one from its next step on.

        Raises:
            PromptError: If neither world understood a word.
        """
        now, true = self.now, self.now.true
        unknown = None
        if self.truth.facts.takes_prompts and not true.end:
            try:
                unknown, snapshot = self.truth.ask("set_prompt", text)
                true = replace(true, snapshot=snapshot)
            except PromptError:
                self.env.model.understand(text)  # raises if the model knows no word either
        if unknown is None or self._model_knows(text):
            strange = self.env.set_prompt(text)
            unknown = strange if unknown is None else [word for word in strange if word in unknown]
        self.moments[-1] = replace(now, prompt=text, true=true, imagined=self.env.snapshot().frame)
        self._keep()
        return unknown

    def look_from(self, camera: str) -> Moment:
        """Show the truth from another camera, the present moment first.

        Raises:
            EnvError: If there is no such camera.
        """
        self.moments[-1] = replace(self.now, true=replace(self.now.true, view=self.truth.ask("look_from", camera)))
        self.camera = camera
        return self.now

    def rewind(self, num_steps: int) -> Moment:
        """Go back by ``num_steps``, or to the kept moment nearest to that.

        Every step of the last 20 is kept, every tenth of the last 600, and the start.
        """
        now = self.now.t
        earlier = [t for t in self._kept if t < now]
        if not earlier:
            return self.now
        t = min(earlier, key=lambda t: abs(t - (now - num_steps)))
        del self.moments[t + 1 :]
        self._kept = {k: kept for k, kept in self._kept.items() if k <= t}
        self._forget_readings()
        return self._return()

    def branch(self) -> Branch:
        """Keep this moment, to come back to it.

        Raises:
            EnvError: If there are too many branches.
        """
        if len(self.branches) >= MAX_BRANCHES:
            raise EnvError(f"{MAX_BRANCHES} branches are kept at most; drop one first")
        now = self.now.t
        kept = {t: k for t, k in self._kept.items() if t in (0, now) or (t % _EVERY == 0 and now - t <= 100)}
        branch = Branch(number=self._next_branch, moments=tuple(self.moments), kept=kept, seed=self.seed)
        self.branches[branch.number] = branch
        self._next_branch += 1
        return branch

    def go_back_to(self, number: int) -> Moment:
        """Continue from a branch, bit for bit.

        Raises:
            EnvError: If there is no such branch.
        """
        branch = self._branch(number)
        self.moments, self._kept, self.seed = list(branch.moments), dict(branch.kept), branch.seed
        self._forget_readings()
        return self._return()

    def drop(self, number: int) -> None:
        """Forget a branch.

        Raises:
            EnvError: If there is no such branch.
        """
        self._branch(number)
        del self.branches[number]

    def rollouts(self) -> tuple[Rollout, Rollout]:
        """Return the drive so far as (imagined, true) rollouts; each ends where its world did.

        Raises:
            EnvError: If there is no step yet.
        """
        if len(self.moments) < 2:
            raise EnvError("there is nothing to keep yet; drive first")
        return self._imagined_rollout(), self._true_rollout()

    def _branch(self, number: int) -> Branch:
        if number not in self.branches:
            raise EnvError(f"there is no branch {number}; there are {sorted(self.branches) or 'none'}")
        return self.branches[number]

    def _add(self, moment: Moment) -> Moment:
        self.moments.append(moment)
        self._keep()
        return self.now

    def _keep(self) -> None:
        """Keep the present moment, and fewer of those long past; only what is kept holds the truth's state."""
        now = self.now
        true = now.true.snapshot or self._kept[max(self._kept)].true  # the truth is where it was when last kept
        self._kept[now.t] = _Kept(self.env.snapshot(), true)
        self.moments[-1] = replace(now, true=replace(now.true, snapshot=b""))
        for t in [t for t in self._kept if t and (now.t - t > _KEPT_SOME or (now.t - t > _KEPT_ALL and t % _EVERY))]:
            del self._kept[t]

    def _forget_readings(self) -> None:
        if self.watch is not None:
            self.watch.forget()

    def _return(self) -> Moment:
        kept = self._kept[self.now.t]
        self.env.restore(kept.imagined)
        view = self.truth.ask("restore", kept.true)  # from the camera of now, whichever it was then
        if view is not None or self.now.true.view is not None:
            self.moments[-1] = replace(self.now, true=replace(self.now.true, view=view))
        return self.now

    def _model_knows(self, prompt: str) -> bool:
        try:
            self.env.model.understand(prompt)
        except PromptError:
            return False
        return True

    def _imagined_rollout(self) -> Rollout:
        ends = [m.t for m in self.moments if m.imagined_end]
        moments = self.moments[: ends[0] + 1] if ends else self.moments
        return self._rollout(
            moments,
            obs=np.stack([m.imagined for m in moments]),
            reward=[m.imagined_reward for m in moments[1:]],
            terminated=moments[-1].imagined_end == _MODELS_END,
            caption=_changes((m.t, m.prompt, m.prompt) for m in moments if m.prompt),
            source="imagined",
            model=self.env.model.name,
        )

    def _true_rollout(self) -> Rollout:
        moments = [m for m in self.moments if m.true_t == m.t]
        return self._rollout(
            moments,
            obs=np.stack([m.true.frame for m in moments]),
            reward=[m.true.reward for m in moments[1:]],
            terminated=moments[-1].true.terminated,
            caption=_changes((m.t, *m.true.caption) for m in moments if m.true.caption),
        )

    def _rollout(
        self, moments: Sequence[Moment], *, reward: Sequence[float], terminated: bool, **fields: Any
    ) -> Rollout:
        num_steps = len(moments) - 1
        is_last = np.arange(num_steps) == num_steps - 1
        facts = self.truth.facts
        return Rollout(
            action=np.stack([m.action for m in moments[1:] if m.action is not None]),
            reward=np.array(reward, np.float32),
            terminated=is_last & terminated,
            truncated=is_last & (not terminated),
            env_id=facts.env_id,
            spec=dict(facts.env_kwargs),
            control_dt=facts.control_dt,
            action_spec=tuple(self.env.action_spec),
            seed=self.seed,
            policy="player",
            **fields,
        )


def _changes(texts: Iterable[tuple[int, str, str]]) -> tuple[Caption, ...]:
    """Return a caption for each (t, en, zh) that says something else than the one before."""
    captions: list[Caption] = []
    for t, en, zh in texts:
        if not captions or (captions[-1].en, captions[-1].zh) != (en, zh):
            captions.append(Caption(t, en, zh))
    return tuple(captions)
