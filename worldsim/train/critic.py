"""A critic of single frames: it learns to tell imagined from true ones, and shows what makes them look imagined.

A squared error alone is least for the mean of all possible frames, which is blurred. The critic's direction is
added to the gradient of the squared error at each frame, scaled to a fixed share of that frame's own: where the
future is certain it changes nothing, where it is not, the frame is drawn towards one that could be true. It is used
in training only and is no part of a checkpoint. Hinge loss and spectral normalisation as in Miyato et al. 2018
(arXiv 1802.05957).

Spectral normalisation bounds how much a score may change with its input, and what is missing in an imagined frame is
fine detail of a few levels: shown frames as they are, the critic tells 0.69 of the squares apart, shown their details
strengthened 0.91 (4,000 imagined frames of City, 250 steps).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import cached

from worldsim.model import autocast
from worldsim.train.bands import opponent, smooth

__all__ = ["Critic"]

_SEEN, _DETAIL = 2.0, 16.0  # how strongly a critic sees a frame and its finest details
_COLOR = 3.0  # and its colours, against its brightness: a cast that spreads in a rollout begins weak


class Critic(nn.Module):
    """Give each 8 x 8 square of a frame a score, high for true ones.

    Args:
        dim: Channels of the first layer.
        learning_rate: Of its own optimizer.
    """

    def __init__(self, dim: int = 24, learning_rate: float = 1e-3) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [
                spectral_norm(nn.Conv2d(3, dim, 4, stride=2, padding=1)),
                spectral_norm(nn.Conv2d(dim, 2 * dim, 4, stride=2, padding=1)),
                spectral_norm(nn.Conv2d(2 * dim, 4 * dim, 4, stride=2, padding=1)),
                spectral_norm(nn.Conv2d(4 * dim, 1, 3, padding=1)),
            ]
        )
        self.optimizer = torch.optim.AdamW(self.parameters(), lr=learning_rate, betas=(0.5, 0.9), weight_decay=0.0)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Return (N, 1, h, w) scores of (N, 3, H, W) frames."""
        x = _SEEN * frames + _DETAIL * (frames - smooth(frames))
        x = opponent(x) * x.new_tensor([1.0, _COLOR, _COLOR])[:, None, None]
        x = x.contiguous(memory_format=torch.channels_last)
        for layer in self.layers[:-1]:
            x = F.leaky_relu(layer(x), 0.2)
        return self.layers[-1](x).float()

    def learn(
        self, imagined: torch.Tensor, true: torch.Tensor, *, num_shares: int = 1, is_first: bool = True
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add the gradient of one share of a step's frames; `step` then follows it.

        Args:
            imagined, true: (N, 3, H, W), without gradient.
            num_shares: Into how many shares the frames of a step are divided.
            is_first: Whether this share is the first; the others leave the spectral norms as they are.

        Returns:
            (N, 3, H, W) direction, of unit norm per frame, in which imagined frames look less true; and the () share of
            squares that are told apart.
        """
        frames = imagined.detach().requires_grad_(True)
        self.train(is_first)
        with cached(), autocast(frames.device):
            score_imagined, score_true = self(frames), self(true)
        (direction,) = torch.autograd.grad(-score_imagined.sum(), frames, retain_graph=True)
        loss = F.relu(1 + score_imagined).mean() + F.relu(1 - score_true).mean()
        (loss / num_shares).backward(inputs=list(self.parameters()))
        norm = direction.flatten(1).norm(dim=1)[:, None, None, None]
        told_apart = 0.5 * ((score_imagined < 0).float().mean() + (score_true > 0).float().mean())
        return direction / norm.clamp_min(1e-12), told_apart

    def step(self) -> None:
        """Follow the gradient that `learn` has gathered."""
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
