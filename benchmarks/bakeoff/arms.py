"""The arms of the bake-off: a name for each design as it is entered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from convformer import convformer
from design import Design, World
from latent import Latent
from prototype import OneFrame, OwnModulations, deep, prototype, wide
from two_stage import TwoStage
from unet import UNet

from worldsim.errors import WorldsimError
from worldsim.model import ModelConfig
from worldsim.model.denoiser import Denoiser

__all__ = ["ARMS", "DESIGNS", "REFERENCE", "Arm", "chosen"]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A design and how it is trained."""

    title: str
    make: Callable[[World, ModelConfig], Design]
    rates: Sequence[float] = (1e-3,)
    """Learning rates; if there are several, each has a trial of a third of the minutes and the best one a whole run."""


def _variants(base: str, patch: int) -> dict[str, Arm]:
    """Return what may differ within a design of patches."""

    def make(change: Callable[[ModelConfig], ModelConfig] = lambda c: c, network: type[Denoiser] = Denoiser):
        return lambda world, config: prototype(world, change(replace(config, patch=patch)), network=network)

    return {
        f"{base}-one-frame": Arm(title=f"{base} that sees one previous frame, not two", make=make(network=OneFrame)),
        f"{base}-own-modulations": Arm(
            title=f"{base} with a modulation of its own in every block", make=make(network=OwnModulations)
        ),
        f"{base}-wide": Arm(title=f"{base} with 4 blocks of width 320", make=make(wide)),
        f"{base}-deep": Arm(title=f"{base} with 10 blocks of width 192", make=make(deep)),
    }


ARMS: dict[str, Arm] = {
    "patch8": Arm(title="transformer over patches of 8, warp head (shipped)", make=prototype),
    "patch16": Arm(title="the same over patches of 16", make=lambda w, c: prototype(w, replace(c, patch=16))),
    "latent": Arm(title="transformer over codes of an autoencoder", make=Latent),
    "unet": Arm(title="U-Net with stacked frames (DIAMOND's settings)", make=UNet, rates=(1e-4, 3e-4, 1e-3)),
    "convformer": Arm(title="convolutions outside, a transformer inside", make=convformer),
    "two-stage": Arm(title="dynamics at half size, then an upsampler", make=TwoStage),
    "patch8-still": Arm(title="patch8 without warp", make=lambda w, c: prototype(w, c, warps=False)),
    "patch16-still": Arm(
        title="patch16 without warp", make=lambda w, c: prototype(w, replace(c, patch=16), warps=False)
    ),
    **_variants("patch8", 8),
    **_variants("patch16", 16),
    "convformer-warp": Arm(title="convformer with a warp head", make=lambda w, c: convformer(w, c, warps=True)),
}

DESIGNS = ("patch8", "patch16", "latent", "unet", "convformer", "two-stage")
"""The first round, which is what ``all`` means; the others are variants for a later one."""

REFERENCE = "unet"


def chosen(names: str) -> list[str]:
    """Return the arms named by ``all`` or by a list with commas.

    Raises:
        WorldsimError: If there is no such arm.
    """
    if names == "all":
        return list(DESIGNS)
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in ARMS]
    if unknown or not wanted:
        raise WorldsimError(f"no arm {', '.join(unknown) or repr(names)}; choose all or some of {', '.join(ARMS)}")
    return wanted
