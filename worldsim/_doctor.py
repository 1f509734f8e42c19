"""What ``worldsim doctor`` looks at: is everything there, does it work, how fast is it here, and what to do if not.

A check is a function that returns what it saw, or raises; each has one fix.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

import gymnasium as gym
import numpy as np

from worldsim.errors import EnvError

__all__ = ["Finding", "examine"]

_MIN_DISK_GB = 2.0
_EXTRAS = {"play": ("fastapi", "uvicorn", "websockets"), "sb3": ("stable_baselines3",), "pettingzoo": ("pettingzoo",)}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check saw."""

    name: str
    value: str
    is_ok: bool = True
    fix: str = ""
    """What to do, if it is not ok."""


def examine(device: str = "auto", seed: int = 0) -> Iterator[Finding]:
    """Yield the findings of every check, one by one.

    Args:
        device: Where a model is to run: ``auto``, ``cpu`` or ``cuda``.
        seed: Of the scene that is rendered.

    Raises:
        EnvError: If ``device`` is none of these.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise EnvError(f"device is auto, cpu or cuda; got {device!r}")
    checks: list[tuple[str, Callable[[], str], str]] = [
        ("python", _python, "install Python 3.11 or newer"),
        ("torch", lambda: _torch(device), "pip install torch (or choose --device cpu)"),
        ("processor", _processor, "worldsim runs on any 64-bit processor; reinstall torch if this fails"),
        ("disk", _disk, f"free some disk: stores and checkpoints want {_MIN_DISK_GB:g} GB"),
        ("zarr", _zarr, "pip install 'zarr>=3.1,<4', and check that the temporary directory can be written"),
        ("pybullet", lambda: _truth(seed), "pip install --force-reinstall pybullet"),
        ("extras", _extras, "pip install 'worldsim-sdk[all]'"),
        ("matrix product", _matmul, "unset WORLDSIM_PRECISION, or reinstall torch"),
        ("models", _models, "reinstall worldsim-sdk: a bundled checkpoint is missing or damaged"),
    ]
    for name, check, fix in checks:
        try:
            yield Finding(name=name, value=check())
        except Exception as error:  # whatever is broken on this machine is the finding
            yield Finding(name=name, value=f"{type(error).__name__}: {error}".splitlines()[0], is_ok=False, fix=fix)


def _python() -> str:
    if tuple(map(int, platform.python_version_tuple()[:2])) < (3, 11):
        raise RuntimeError(f"Python {platform.python_version()} is too old")
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}"


def _torch(device: str) -> str:
    import torch

    has_cuda = torch.cuda.is_available()
    if device == "cuda" and not has_cuda:
        raise RuntimeError(f"torch {torch.__version__} sees no CUDA device")
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
    where = torch.cuda.get_device_name(0) if has_cuda else "no GPU in use"
    return f"{torch.__version__}, {build}, {where}"


def _processor() -> str:
    import torch

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cpuinfo = Path("/proc/cpuinfo")
    flags = set(cpuinfo.read_text().split()) if cpuinfo.exists() else set()
    fast = [name for flag, name in (("avx512_bf16", "bf16"), ("amx_bf16", "AMX")) if flag in flags]
    return (
        f"{usable} cores usable, torch on {torch.get_num_threads()} threads, "
        f"{torch.backends.cpu.get_cpu_capability()}, {' and '.join(fast) or 'no bf16 or AMX'}"
    )


def _disk() -> str:
    free_gb = shutil.disk_usage(".").free / 1e9
    if free_gb < _MIN_DISK_GB:
        raise RuntimeError(f"only {free_gb:.1f} GB free here")
    return f"{free_gb:.0f} GB free here"


def _zarr() -> str:
    from worldsim.rollout import Rollout
    from worldsim.store import RolloutStore

    obs = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    flags = np.zeros(4, bool)
    rollout = Rollout(
        obs=obs, action=np.zeros((4, 2), np.float32), reward=np.zeros(4, np.float32), terminated=flags, truncated=flags
    )
    with tempfile.TemporaryDirectory() as folder:
        store = RolloutStore.create(Path(folder) / "store")
        store.append([rollout])
        if not np.array_equal(RolloutStore.open(Path(folder) / "store").episode(0).obs, obs):
            raise RuntimeError("a rollout was not read back as it was written")
    return f"{metadata.version('zarr')}, a rollout was written and read back"


def _truth(seed: int) -> str:
    env = gym.make("worldsim/City-v0", disable_env_checker=True)
    try:
        obs, _ = env.reset(seed=seed)
        if obs.std() < 1:
            raise RuntimeError("the frame is empty")
        steps_per_second = _step_rate(env, seed)
    finally:
        env.close()
    return f"{metadata.version('pybullet')}, City renders, {steps_per_second:.0f} steps/s"


def _extras() -> str:
    return ", ".join(
        f"{extra}: {'installed' if all(util.find_spec(package) for package in packages) else 'not installed'}"
        for extra, packages in _EXTRAS.items()
    )


def _matmul() -> str:
    import torch

    from worldsim.model import compute_dtype

    rates = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a = torch.ones(1024, 1024, dtype=dtype)
        rates[name] = 2 * 1024**3 * _rate(lambda a=a: torch.mm(a, a), 3) / 1e9
    told = ", ".join(f"{name} {rate:.0f} GFLOP/s" for name, rate in rates.items())
    return f"{told}; models compute in {str(compute_dtype()).removeprefix('torch.')}"


def _models() -> str:
    from worldsim.model import bundled

    seen = []
    for name in bundled():
        env = gym.make("worldsim/Dream-v0", model=name, disable_env_checker=True)
        env.reset(seed=0)
        seen.append(f"{name} imagines {_step_rate(env, 0):.0f} frames/s in one stream")
        env.close()
    if not seen:
        raise RuntimeError("no model is bundled")
    return ", ".join(seen)


def _step_rate(env: gym.Env, seed: int) -> float:
    env.action_space.seed(seed)

    def step() -> None:
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()

    return _rate(step, 20)


def _rate(call: Callable[[], object], num: int) -> float:
    """Return calls per second, by the median of ``num`` calls."""
    times_s = []
    for _ in range(num):
        begin = time.perf_counter()
        call()
        times_s.append(time.perf_counter() - begin)
    return 1 / float(np.median(times_s))
