"""``collect``: episodes of any env into a store, over several processes or machines, resumable and exactly once.

Episodes are known by what decides them (env, arguments, policy, variation, length limit, seed). Each is committed as it
ends, and what is committed is not played again, so an interrupted run is continued by the same call.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing as mp
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from worldsim.collect.interrupt import interrupt_after
from worldsim.collect.ray_engine import collect_on_ray
from worldsim.collect.worker import Episode, Job, make_image_env, named_policy, run_batch
from worldsim.errors import EnvError, StoreError, WorldsimError
from worldsim.store import RolloutStore
from worldsim.store.format import STORE_FILE

__all__ = ["Progress", "collect"]

_EPISODES_PER_BATCH = 16  # handed to a worker at a time
_ENGINES = ("local", "ray")


@dataclass(frozen=True)
class Progress:
    """How far a collection is."""

    episodes: int
    """Collected by this call."""
    total: int
    """That this call has to collect; what the store held already is not in it."""
    skipped: int
    """That the store held already."""
    steps: int
    num_bytes: int
    """Of raw frames."""
    elapsed_s: float

    @property
    def steps_per_s(self) -> float:
        """Steps per second so far, of all workers."""
        return self.steps / max(self.elapsed_s, 1e-9)

    @property
    def eta_s(self) -> float:
        """Seconds left at this pace."""
        return self.elapsed_s * (self.total - self.episodes) / max(self.episodes, 1)


def collect(
    env_id: str,
    episodes: int,
    store_path: str | Path,
    *,
    policy: str = "mixture",
    seed: int = 0,
    workers: int = 1,
    max_steps: int | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    variation: Mapping[str, Any] | None = None,
    prompt_every: int | None = None,
    engine: str = "local",
    codec: str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> RolloutStore:
    """Collect episodes of an env into a store, which is created if it does not exist.

    Episode i uses the env seed ``seed + i``. Ctrl-C lets the episodes that are being played end, and is raised again.
    A killed worker loses the episode that it was playing, and nothing else.

    Args:
        env_id: Any Gymnasium id whose obs or render is an image; ``module:Id-v0`` imports the module first.
        episodes: How many; those that the store holds already are skipped.
        store_path: Directory of the store.
        policy: Name of one of the env's policies; an env without any has ``mixture``, smooth random actions.
        seed: Env seed of the first episode.
        workers: Processes; one collects in this process. With Ray, actors.
        max_steps: Truncate episodes here; at most 10,000 steps in any case.
        env_kwargs: Constructor arguments of the env, as JSON values.
        variation: Factors that every reset asks for, as ``options["variation"]``.
        prompt_every: Mean steps between prompts in mid-episode, which then are the captions; None for none. The env
            draws them (`worldsim.rollout.Truth.draw_prompt`).
        engine: ``local`` processes, or ``ray`` actors: on the cluster that RAY_ADDRESS names or that runs here, else on
            one that is started for this call. All machines must see the store under the same path.
        codec: What a new store is packed with, ``zstd``, ``lz4`` or ``none``; None is zstd, or what the store has.
        progress: Called after every commit, for example ``show_progress()``.

    Raises:
        EnvError: If the env is unknown, shows no image, has no such policy, takes no prompts, or a worker died.
        StoreError: If the store is damaged, or holds frames of another size or packed otherwise.
        MissingExtraError: If Ray is asked for and not installed.
    """
    if engine not in _ENGINES:
        raise EnvError(f"the engine must be {' or '.join(_ENGINES)}; got {engine!r}")
    if episodes < 1 or workers < 1 or (max_steps is not None and max_steps < 1):
        raise EnvError(f"episodes, workers and max_steps must be at least 1; got {episodes}, {workers}, {max_steps}")
    if prompt_every is not None and prompt_every < 1:
        raise EnvError(f"prompt_every must be at least 1 step; got {prompt_every}")
    root = Path(store_path)
    env_kwargs = dict(env_kwargs or {})
    decides = {"env_id": env_id, "env_kwargs": env_kwargs, "variation": variation, "max_steps": max_steps}
    if prompt_every is not None:
        decides["prompt_every"] = prompt_every
    run_id = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]
    job = Job(
        env_id=env_id,
        env_kwargs=env_kwargs,
        policy=policy,
        max_steps=max_steps,
        variation=variation,
        prompt_every=prompt_every,
        store_path=str(root),
        run_id=run_id,
    )
    if not (root / STORE_FILE).exists():
        _try(job)  # before there is a store of nothing
    store = RolloutStore.open_or_create(root, codec=codec or "zstd")
    if codec not in (None, store.codec):
        raise StoreError(
            f"{root} is packed with {store.codec}; got the codec {codec}: worldsim compact --codec repacks it"
        )
    wanted = [Episode(seed + i, f"{policy}/{seed + i}") for i in range(episodes)]
    held = store.keys(run_id)
    todo = [episode for episode in wanted if episode.key not in held]
    size = max(1, min(_EPISODES_PER_BATCH, -(-len(todo) // (2 * workers))))
    batches = [todo[i : i + size] for i in range(0, len(todo), size)]
    tally = _Tally(len(todo), len(wanted) - len(todo), progress)
    if engine == "ray":
        collect_on_ray(job, todo, workers, tally.add)
    elif workers == 1 or len(batches) <= 1:
        _collect_here(job, store, batches, tally)
    else:
        _collect_in_processes(job, batches, min(workers, len(batches)), tally)
    store.refresh()
    return store


def _try(job: Job) -> None:
    """Raise what makes it impossible to collect at all."""
    env, _ = make_image_env(job.env_id, job.env_kwargs)
    try:
        named_policy(env, job)
        if job.variation:
            _, info = env.reset(seed=0, options={"variation": dict(job.variation)})
            if "variation" not in info:
                raise EnvError(f"{job.env_id} has no factors to vary (its info has no variation); leave them out")
    finally:
        env.close()


class _Tally:
    """Counts what arrives and reports it."""

    def __init__(self, total: int, skipped: int, report: Callable[[Progress], None] | None) -> None:
        self._total, self._skipped, self._report = total, skipped, report
        self._episodes = self._steps = self._bytes = 0
        self._start = time.monotonic()

    def add(self, num_steps: int, num_bytes: int) -> None:
        self._episodes += 1
        self._steps += num_steps
        self._bytes += num_bytes
        if self._report is not None:
            elapsed_s = time.monotonic() - self._start
            self._report(Progress(self._episodes, self._total, self._skipped, self._steps, self._bytes, elapsed_s))


def _collect_here(job: Job, store: RolloutStore, batches: Sequence[Sequence[Episode]], tally: _Tally) -> None:
    env, to_frame = make_image_env(job.env_id, job.env_kwargs)

    try:
        named_policy(env, job)
        with interrupt_after() as interrupted:

            def on_episode(num_steps: int, num_bytes: int) -> bool:
                tally.add(num_steps, num_bytes)
                return not interrupted()

            for batch in batches:
                run_batch(env, to_frame, job, store, batch, on_episode)
                if interrupted():
                    break
    finally:
        env.close()


def _collect_in_processes(job: Job, batches: Sequence[Sequence[Episode]], num_workers: int, tally: _Tally) -> None:
    """Hand batches to spawned workers, one pipe each, so that a killed worker can block nobody."""
    context = mp.get_context("spawn")
    stop = context.Event()
    pending = list(reversed(batches))
    processes: dict[Connection, Any] = {}
    try:
        with _one_thread_each():
            for _ in range(num_workers):
                here, there = context.Pipe()
                process = context.Process(target=_work, args=(job, there, stop), daemon=True)
                process.start()
                there.close()
                processes[here] = process
        active = set(processes)
        while active:
            for pipe in wait(list(active)):
                assert isinstance(pipe, Connection)
                try:
                    kind, *values = pipe.recv()
                except EOFError:
                    process = processes[pipe]
                    process.join()
                    raise EnvError(
                        f"a worker of {job.env_id} died (exit code {process.exitcode}); what was committed is safe: "
                        "run the same command again to go on"
                    ) from None
                if kind == "episode":
                    tally.add(*values)
                elif kind == "error":
                    raise values[0]
                elif pending:
                    pipe.send(pending.pop())
                else:
                    pipe.send(None)
                    active.discard(pipe)
    finally:
        stop.set()
        for pipe, process in processes.items():
            with suppress(OSError):  # the worker is gone already
                pipe.send(None)
            process.join()
            pipe.close()


def _work(job: Job, pipe: Connection, stop: Event) -> None:
    """Run in a spawned process: ask for batches until there are none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the first one sets `stop`

    def on_episode(num_steps: int, num_bytes: int) -> bool:
        try:
            pipe.send(("episode", num_steps, num_bytes))
        except BrokenPipeError:  # the first process was killed
            return False
        return not stop.is_set()

    try:
        env, to_frame = make_image_env(job.env_id, job.env_kwargs)
        named_policy(env, job)
        store = RolloutStore.open(job.store_path)
        pipe.send(("ready",))
        while not stop.is_set() and (batch := pipe.recv()) is not None:
            run_batch(env, to_frame, job, store, batch, on_episode)
            pipe.send(("ready",))
        env.close()
    except (BrokenPipeError, EOFError):
        return  # the first process is gone
    except WorldsimError as error:
        pipe.send(("error", error))


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let processes started inside use one thread each; libraries read these names when they load."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
