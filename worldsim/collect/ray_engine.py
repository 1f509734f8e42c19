"""Collecting with Ray: actors on one machine or many, each of which writes and commits its own segments."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from worldsim.collect.interrupt import interrupt_after
from worldsim.collect.worker import Episode, Job, make_image_env, run_batch
from worldsim.errors import EnvError, MissingExtraError, WorldsimError
from worldsim.store import RolloutStore

__all__ = ["collect_on_ray"]

_OBJECT_STORE_BYTES = 100 * 2**20  # rollouts go to disk; only their sizes come back


def collect_on_ray(job: Job, episodes: Sequence[Episode], num_actors: int, add: Callable[[int, int], None]) -> None:
    """Hand episodes to actors one by one; whatever ends this, the episodes that are being played are committed.

    The first Ctrl-C waits for them, wherever it comes; a second one does not.

    Args:
        job: What the episodes have in common.
        episodes: Which ones.
        num_actors: How many play at a time; each takes a CPU of the cluster.
        add: Called with steps and bytes of raw frames of every episode that is committed.

    Raises:
        EnvError: If the cluster is too small, an actor died, or the env cannot be used.
        MissingExtraError: If Ray is not installed.
    """
    pending = list(reversed(episodes))
    num_actors = min(num_actors, len(pending))
    if not num_actors:
        return
    with _cluster(num_actors) as ray, interrupt_after() as is_interrupted:
        actor_class = ray.remote(num_cpus=1)(_Collector)
        actors = [actor_class.remote(job) for _ in range(num_actors)]
        playing = {actor.play.remote(pending.pop()): actor for actor in actors}
        failure: WorldsimError | None = None
        while playing:
            try:
                (done, *_), _ = ray.wait(list(playing))
                actor = playing.pop(done)
                result = ray.get(done)
            except ray.exceptions.RayActorError:
                failure = failure or EnvError(
                    f"an actor of {job.env_id} died; what was committed is safe: run the same command again to go on"
                )
                continue
            if isinstance(result, WorldsimError):
                failure = failure or result
                continue
            add(*result)
            if pending and failure is None and not is_interrupted():
                playing[actor.play.remote(pending.pop())] = actor
        if failure is not None:
            raise failure


class _Collector:
    """An actor: makes its env with the first episode, and hands expected errors back as values."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._store = RolloutStore.open(job.store_path)
        self._env: tuple[Any, Callable[[Any], Any]] | None = None

    def play(self, episode: Episode) -> tuple[int, int] | WorldsimError:
        """Play and commit one episode; returns its steps and bytes of raw frames."""
        sizes: list[tuple[int, int]] = []

        def on_episode(num_steps: int, num_bytes: int) -> bool:
            sizes.append((num_steps, num_bytes))
            return True

        try:
            if self._env is None:
                self._env = make_image_env(self._job.env_id, self._job.env_kwargs)
            run_batch(*self._env, self._job, self._store, [episode], on_episode)
        except WorldsimError as error:
            return error
        return sizes[0]


@contextmanager
def _cluster(num_actors: int) -> Iterator[Any]:
    """Connect to the cluster at hand, or start one for the block."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anyone
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise MissingExtraError("ray", "ray", "collect on a cluster") from None
    is_ours = not ray.is_initialized()
    if is_ours:
        quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
        try:
            ray.init(address="auto", **quiet)
        except ConnectionError:
            num_cpus = max(num_actors, os.cpu_count() or 1)
            own = {"num_cpus": num_cpus, "object_store_memory": _OBJECT_STORE_BYTES, "include_dashboard": False}
            try:
                ray.init(**own, **quiet)
            except Exception as error:  # Ray has no class for a start that takes more than 30 seconds
                reason = " ".join(str(error).split())[:160]
                raise EnvError(
                    f"Ray did not start: {reason}; start one with: ray start --head, then run the same command again"
                ) from None
    try:
        num_cpus = int(ray.cluster_resources().get("CPU", 0))
        if num_cpus < num_actors:
            raise EnvError(f"{num_actors} workers need as many CPUs of the Ray cluster; it has {num_cpus}")
        yield ray
    finally:
        if is_ours:
            ray.shutdown()
