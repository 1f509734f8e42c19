"""An experiment: first frames from text alone by a small network of its own, in codes of patches.

    python benchmarks/first_frames.py --data data/city-train --minutes 24 --model city-64 -o runs/first-frames

The denoiser that continues frames is a poor painter of first ones (`docs/decisions.md`): it is told to move a frame
that is not there, at full resolution, in a fifth of its time. Here every 8 x 8 patch is 40 whitened principal
components, and a transformer of 1.8 M parameters learns the rectified flow from noise to a frame's 64 codes under a bag
of words, on single frames alone. Pictures are written every five minutes: a row per prompt, eight seeds; with
``--model`` also what that model imagines from such frames.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from PIL import Image
from torch import nn

import worldsim
from worldsim.errors import WorldsimError
from worldsim.model import Vocabulary
from worldsim.model.text import WordEncoder
from worldsim.store import RolloutStore
from worldsim.train.optimizer import Optimizer

_PATCH, _CODES = 8, 40
_DIM, _DEPTH, _HEADS, _TEXT = 128, 6, 4, 64
_BATCH, _RATE, _MUON = 64, 1e-3, 2.5
_FRAMES_PER_EPISODE = 40
_TEXT_DROP = 0.1
_SAMPLER_STEPS, _GUIDANCE = 40, 1.5
_LOOK_MINUTES = 5.0
_PROMPTS = (
    "noon, clear sky, light traffic",
    "a clear night with light traffic",
    "rain at dusk, heavy traffic",
    "thick fog by day",
)


class Codes:
    """Whitened principal components of patches, and back.

    Args:
        frames: (M, H, W, 3) uint8 to find them in.
    """

    def __init__(self, frames: torch.Tensor) -> None:
        self.rows = frames.shape[1] // _PATCH
        pixels = self._patches(frames)
        some = pixels[::7].flatten(0, 1)
        self.mean = some.mean(dim=0)
        variance, basis = torch.linalg.eigh((some - self.mean).T @ (some - self.mean) / len(some))
        self.basis = basis[:, -_CODES:] * variance[-_CODES:].sqrt().clamp_min(0.05)
        self.inverse = basis[:, -_CODES:] / variance[-_CODES:].sqrt().clamp_min(0.05)
        codes = (pixels - self.mean) @ self.inverse
        self.shift, self.scale = codes.mean(dim=0), codes.std(dim=0).clamp_min(0.1)  # (N, K), of each place
        weight = self.scale * self.basis.norm(dim=0)
        self.weight = weight / weight.mean()
        """(N, K) how much a code is worth in pixels."""

    def _patches(self, frames: torch.Tensor) -> torch.Tensor:
        pixels = frames.float() / 127.5 - 1
        return rearrange(pixels, "m (y p) (x q) c -> m (y x) (p q c)", p=_PATCH, q=_PATCH)

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        """Return (M, N, K) codes of (M, H, W, 3) uint8 frames."""
        return ((self._patches(frames) - self.mean) @ self.inverse - self.shift) / self.scale

    def decode(self, codes: torch.Tensor) -> np.ndarray:
        """Return (M, H, W, 3) uint8."""
        pixels = (codes * self.scale + self.shift) @ self.basis.T + self.mean
        frames = rearrange(pixels, "m (y x) (p q c) -> m (y p) (x q) c", y=self.rows, p=_PATCH, q=_PATCH)
        return ((frames.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()


class Block(nn.Module):
    """Attention among the patches of a frame and feed-forward, modulated by noise level and text."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(_DIM, 3 * _DIM), nn.Linear(_DIM, _DIM)
        self.up, self.down = nn.Linear(_DIM, 4 * _DIM), nn.Linear(4 * _DIM, _DIM)
        self.modulate = nn.Linear(_DIM, 6 * _DIM)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """Return tokens (B, N, D) of such tokens; c is (B, D)."""
        shift, scale, gate, *others = self.modulate(c)[:, None].chunk(6, dim=-1)
        qkv = self.qkv(F.rms_norm(x, (_DIM,)) * (1 + scale) + shift)
        q, k, v = rearrange(qkv, "b n (three h d) -> three b h n d", three=3, h=_HEADS)
        x = x + gate * self.out(rearrange(F.scaled_dot_product_attention(q, k, v), "b h n d -> b n (h d)"))
        shift, scale, gate = others
        return x + gate * self.down(F.relu(self.up(F.rms_norm(x, (_DIM,)) * (1 + scale) + shift)).square())


class Painter(nn.Module):
    """Predict the velocity from noise to the codes of a frame."""

    def __init__(self, num_patches: int, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.text = WordEncoder(vocabulary, _TEXT)
        self.enter = nn.Linear(_CODES, _DIM)
        self.position = nn.Parameter(0.02 * torch.randn(num_patches, _DIM))
        self.level = nn.Sequential(nn.Linear(32, _DIM), nn.SiLU(), nn.Linear(_DIM, _DIM))
        self.told = nn.Linear(_TEXT, _DIM)
        self.blocks = nn.ModuleList(Block() for _ in range(_DEPTH))
        self.leave = nn.Linear(_DIM, _CODES)
        nn.init.zeros_(self.leave.weight)

    def forward(self, z: torch.Tensor, tau: torch.Tensor, features: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """Return (B, N, K) for noisy codes of that shape at levels (B,), text features (B, F) and who is told (B,)."""
        angle = tau[:, None] * math.pi * 2.0 ** torch.arange(-1, 15)
        text = self.text(features) * told[:, None]
        c = F.silu(self.level(torch.cat([angle.sin(), angle.cos()], dim=-1)) + self.told(text))
        x = self.enter(z) + self.position
        for block in self.blocks:
            x = block(x, c)
        return self.leave(F.rms_norm(x, (_DIM,)))

    @torch.inference_mode()
    def sample(self, prompts: list[str], seed: int) -> torch.Tensor:
        """Return (B, N, K) codes of first frames."""
        features, told = self.text.features(prompts), torch.ones(len(prompts))
        generator = torch.Generator().manual_seed(seed)
        z = torch.randn(len(prompts), *self.position.shape[:1], _CODES, generator=generator)
        for k in range(_SAMPLER_STEPS):
            tau = torch.full((len(prompts),), k / _SAMPLER_STEPS)
            plain = self(z, tau, features, 0 * told)
            z = z + (plain + _GUIDANCE * (self(z, tau, features, told) - plain)) / _SAMPLER_STEPS
        return z


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="store to learn from")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--model", default=None, help="shows what it imagines from such frames")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, required=True, help="directory of pictures and weights")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)
    frames, captions = _single_frames(RolloutStore.open(args.data))
    codes = Codes(frames)
    known = codes.encode(frames)
    texts = sorted(set(captions))
    painter = Painter(known.shape[1], Vocabulary.from_texts(texts))
    print(f"{len(frames):,} frames, {len(texts)} captions, {sum(p.numel() for p in painter.parameters()) / 1e6:.2f} M")
    table = painter.text.features(texts)
    row = {text: i for i, text in enumerate(texts)}
    features = table[torch.tensor([row[caption] for caption in captions])]
    painter = _train(painter, codes, known, features, args)
    if args.model:
        _continue(painter, codes, args.model, args.out / "continued.png")


def _single_frames(store: RolloutStore) -> tuple[torch.Tensor, list[str]]:
    rng, frames, captions = np.random.default_rng(0), [], []
    for i in range(len(store)):
        rollout = store.episode(i)
        for t in rng.choice(len(rollout.obs), min(_FRAMES_PER_EPISODE, len(rollout.obs)), replace=False):
            frames.append(rollout.obs[t])
            captions.append(next((c.en for c in reversed(rollout.caption) if c.t <= t), ""))
    return torch.from_numpy(np.stack(frames)), captions


def _train(
    painter: Painter, codes: Codes, known: torch.Tensor, features: torch.Tensor, args: argparse.Namespace
) -> Painter:
    """Return the painter with its weights averaged."""
    average, optimizer = copy.deepcopy(painter), Optimizer(painter, rate=_RATE, decay=0.01, muon_rate=_MUON)
    generator = torch.Generator().manual_seed(args.seed)
    began, step, next_look, recent = time.monotonic(), 0, _LOOK_MINUTES, []
    while (spent := (time.monotonic() - began) / 60) < args.minutes:
        rows = torch.randint(len(known), (_BATCH,), generator=generator)
        told = (torch.rand(_BATCH, generator=generator) >= _TEXT_DROP).float()
        tau = torch.sigmoid(torch.randn(_BATCH, generator=generator) - 0.2)
        noise = torch.randn(_BATCH, *known.shape[1:], generator=generator)
        z = noise + tau[:, None, None] * (known[rows] - noise)
        velocity = painter(z, tau, features[rows], told)
        loss = ((velocity - (known[rows] - noise)).square() * codes.weight).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(painter.parameters(), 1.0)
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, spent / args.minutes)))
        optimizer.set_rate(_RATE * min(1.0, step / 100 + 0.01) * (0.03 + 0.97 * cosine))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        keep = min(0.999, (1 + step) / (10 + step))
        with torch.no_grad():
            for slow, value in zip(average.parameters(), painter.parameters(), strict=True):
                slow.lerp_(value, 1 - keep)
        recent.append(float(loss.detach()))
        if step % 100 == 0:
            print(f"step {step} | {spent:.1f} min | loss {np.mean(recent):.4f}", flush=True)
            recent = []
        if spent >= next_look:
            next_look += _LOOK_MINUTES
            _draw(average, codes, args.out / f"{step:06d}.png")
    _draw(average, codes, args.out / "last.png")
    torch.save(average.state_dict(), args.out / "painter.pt")
    return average


def _draw(painter: Painter, codes: Codes, path: Path) -> None:
    rows = [np.concatenate([*codes.decode(painter.sample([prompt] * 8, seed=0))], axis=1) for prompt in _PROMPTS]
    Image.fromarray(np.concatenate(rows)).save(path)


def _continue(painter: Painter, codes: Codes, name: str, path: Path) -> None:
    """Draw a row per prompt: the first frame, and what a model imagines 1, 2, 4, 8 and 16 steps behind it."""
    model = worldsim.load(name)
    frames = codes.decode(painter.sample(list(_PROMPTS), seed=0))
    num = len(frames)
    blank = np.zeros((num, 0, *model.spec.action_shape), np.float32)
    state = model.encode(frames[:, None], blank, prompts=list(_PROMPTS), seeds=range(num))
    forward = np.tile(np.array([0.0, 0.5], np.float32), (num, 16, 1))
    imagined = model.rollout(state, forward)[1].frames  # (N, T, H, W, 3)
    shown = np.concatenate([frames[:, None], imagined[:, [0, 1, 3, 7, 15]]], axis=1)
    Image.fromarray(rearrange(shown, "n t h w c -> (n h) (t w) c")).save(path)


if __name__ == "__main__":
    try:
        main()
    except WorldsimError as error:
        raise SystemExit(f"error: {error}") from None
