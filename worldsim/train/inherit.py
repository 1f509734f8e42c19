"""Weights of an earlier model as a beginning: for a world with new words, other actions, or with a longer memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from einops import repeat

from worldsim.errors import CheckpointError
from worldsim.model import FirstFrameNet, ModelConfig, Networks, WorldModel

__all__ = ["inherit", "inherit_first_frames", "inherit_told"]

_RIDGE = 1e-6  # of the largest variance


def inherit(networks: Networks, config: ModelConfig, parent: WorldModel, factor_names: Sequence[str] = ()) -> None:
    """Copy a parent's weights into new networks.

    Words that the parent knows keep their embedding, new ones and new factors begin at zero; the parent's factors must
    be the first. Where actions are another count of numbers, their meaning is learned anew. A longer memory treats its
    oldest frames as the parent treated its own oldest one. Frames twice as large, with patches twice as large, have the
    parent's tokens: the child begins by moving what it sees as its parent would.

    Args:
        networks: Filled in place.
        config: Their architecture.
        parent: Of the same architecture but for ``num_context`` and ``sampler_steps``, and of the same frame size; or
            the new networks' frame size and ``patch`` are both the same whole number of times the parent's.
        factor_names: Of the new model; the parent's first.

    Raises:
        CheckpointError: If the parent is of another kind.
    """
    own = networks.denoiser
    theirs = parent.networks.denoiser
    size, their_size = (own.height, own.width), (theirs.height, theirs.width)
    times = max(1, own.height // theirs.height)
    same = replace(
        parent.config,
        num_context=config.num_context,
        sampler_steps=config.sampler_steps,
        patch=times * parent.config.patch,
    )
    if same != config or size != (times * theirs.height, times * theirs.width):
        raise CheckpointError(
            f"{parent.name} cannot be the beginning of this model: it has another architecture or frame size "
            f"({parent.config} for {their_size}, wanted {config} for {size}); start without init"
        )
    weights = {name: value.float() for name, value in parent.networks.state_dict().items()}
    if own.embed_action[0].in_features != theirs.embed_action[0].in_features:
        weights |= {f"denoiser.embed_action.{name}": value for name, value in own.embed_action.state_dict().items()}
    known = parent.spec.factor_names
    if tuple(factor_names)[: len(known)] != known:
        raise CheckpointError(f"{parent.name} knows the factors {', '.join(known)}; name them first, then new ones")
    more = 2 * (len(factor_names) - len(known))
    weights["denoiser.embed_text.weight"] = F.pad(weights["denoiser.embed_text.weight"], (0, more))
    if config.text_encoder == "words":
        weights["text.embed.weight"] = _words(networks, parent, weights["text.embed.weight"])
    if times > 1:
        weights |= _enlarged(weights, parent.config, times)
    for name, value in weights.items():
        if name.endswith("distance_bias"):  # (heads, num_context)
            longer = config.num_context - value.shape[1]
            weights[name] = torch.cat([value, value[:, -1:].expand(-1, max(longer, 0))], dim=1)[:, : config.num_context]
    networks.load_state_dict(weights)


def _enlarged(weights: Mapping[str, torch.Tensor], config: ModelConfig, times: int) -> dict[str, torch.Tensor]:
    """Return the layers between pixels and tokens for frames and patches ``times`` as large.

    Tokens see the mean of ``times`` x ``times`` pixels in place of one, and give all of them what they gave the one;
    only movements are in pixels, of which there are ``times`` as many.
    """
    side = {"p": config.patch, "q": config.patch}
    seen = repeat(
        weights["denoiser.patchify.weight"] / times**2, "d (c p q) -> d (c p i q j)", i=times, j=times, **side
    )
    given = weights["denoiser.to_pixels.weight"], weights["denoiser.to_pixels.bias"][:, None]
    weight, bias = (repeat(value, "(c p q) d -> (c p i q j) d", i=times, j=times, **side).clone() for value in given)
    for value in (weight, bias):
        value[: 2 * (times * config.patch) ** 2] *= times  # the flow
    return {
        "denoiser.patchify.weight": seen,
        "denoiser.to_pixels.weight": weight,
        "denoiser.to_pixels.bias": bias[:, 0],
    }


def inherit_first_frames(net: FirstFrameNet, model: WorldModel, parent: WorldModel) -> FirstFrameNet:
    """Copy what draws a parent's first frames into a new network, but for what enlarges them and how texts are heard.

    Of plain words those are heard as the parent hears them that it knows; new ones begin as if not heard. Return the
    parent's network.

    Args:
        net: Filled in place.
        model: Which it belongs to.
        parent: Whose network has the same width, depth and number of patches and is told as much; its patches and
            their codes may be of other sizes, and then those of the new one stay and what they say is learned anew.

    Raises:
        CheckpointError: If it has no such network.
    """
    theirs = parent.first_frame_net
    if theirs is None:
        raise CheckpointError(f"{parent.name} cannot be the beginning: it draws no first frames")
    own, kept = net.state_dict(), ("enlarger.", "told_", "hear.")
    if net.codes.basis.shape != theirs.codes.basis.shape:
        kept += ("codes.", "enter.", "leave.")
    weights = {name: value for name, value in theirs.state_dict().items() if not name.startswith(kept)}
    expected = {name: tuple(value.shape) for name, value in own.items() if not name.startswith(kept)}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if found != expected:
        differs = next(name for name in sorted({*expected, *found}) if expected.get(name) != found.get(name))
        raise CheckpointError(
            f"{parent.name} cannot be the beginning: what draws its first frames has another architecture, is told "
            f"another number of things or draws in another number of patches ({differs} has the shape "
            f"{found.get(differs)}, wanted {expected.get(differs)})"
        )
    encoders = {model.config.text_encoder, parent.config.text_encoder}
    if net.hear is not None and theirs.hear is not None and len(encoders) == 1:
        heard = theirs.hear.weight.mT  # (U, D)
        if encoders == {"words"}:
            heard = _words(model.networks, parent, F.pad(heard, (0, 0, 1, 0)))[1:]
        weights["hear.weight"] = heard.mT
    net.load_state_dict({**own, **weights})
    return theirs


@torch.no_grad()
def inherit_told(net: FirstFrameNet, told: torch.Tensor, source: FirstFrameNet, theirs: torch.Tensor) -> None:
    """Let a new network hear what its own world model encodes as a parent's network hears what the parent encodes.

    Args:
        net: With the parent's weights; its scales are found anew, as the linear map that is nearest.
        told: (M, C) conditions of some captions, as its own world model encodes them.
        source: The parent's network.
        theirs: (M, C) as the parent encodes them.
    """
    told, theirs = told[:, net.plain_dim :], theirs[:, source.plain_dim :]
    heard = ((theirs - source.told_mean) @ source.told_inverse).double()
    mean = told.double().mean(dim=0)
    centred = told.double() - mean
    square = centred.mT @ centred
    ridge = _RIDGE * square.diagonal().max() * torch.eye(len(square), dtype=torch.float64, device=square.device)
    inverse = torch.linalg.solve(square + ridge, centred.mT @ (heard - heard.mean(dim=0)))
    net.told_mean.copy_(mean - heard.mean(dim=0) @ torch.linalg.pinv(inverse, rtol=1e-3))
    net.told_inverse.copy_(inverse)


def _words(networks: Networks, parent: WorldModel, theirs: torch.Tensor) -> torch.Tensor:
    """Return the embeddings of the words of ``networks``, those of the parent where it knows them."""
    known = {token: row + 1 for row, token in enumerate(parent.networks.text.vocabulary.tokens)}
    tokens = networks.text.vocabulary.tokens
    words = torch.zeros(len(tokens) + 1, theirs.shape[1])
    for row, token in enumerate(tokens):
        if token in known:
            words[row + 1] = theirs[known[token]]
    return words
