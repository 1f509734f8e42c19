"""Weights of an earlier model as a beginning: for a world with new words, or with a longer memory."""

from __future__ import annotations

from dataclasses import replace

import torch

from worldsim.errors import CheckpointError
from worldsim.model import ModelConfig, Networks, WorldModel

__all__ = ["inherit"]


def inherit(networks: Networks, config: ModelConfig, parent: WorldModel) -> None:
    """Copy a parent's weights into new networks.

    Words that the parent knows keep their embedding, new ones begin at zero. A longer memory treats its oldest frames
    as the parent treated its own oldest one.

    Args:
        networks: Filled in place.
        config: Their architecture.
        parent: Of the same architecture but for ``num_context`` and ``sampler_steps``, and of the same frame size and
            action length.

    Raises:
        CheckpointError: If the parent is of another kind.
    """
    same = replace(parent.config, num_context=config.num_context, sampler_steps=config.sampler_steps)
    own = networks.denoiser
    theirs = parent.networks.denoiser
    shape = (own.height, own.width, own.embed_action[0].in_features)
    their_shape = (theirs.height, theirs.width, theirs.embed_action[0].in_features)
    if same != config or shape != their_shape:
        raise CheckpointError(
            f"{parent.name} cannot be the beginning of this model: it has another architecture, frame size or action "
            f"space ({parent.config} for {their_shape}, wanted {config} for {shape}); start without init"
        )
    weights = {name: value.float() for name, value in parent.networks.state_dict().items()}
    known = {token: row + 1 for row, token in enumerate(parent.networks.text.vocabulary.tokens)}
    words = torch.zeros_like(networks.text.embed.weight)
    for row, token in enumerate(networks.text.vocabulary.tokens):
        if token in known:
            words[row + 1] = weights["text.embed.weight"][known[token]]
    weights["text.embed.weight"] = words
    for name, value in weights.items():
        if name.endswith("distance_bias"):  # (heads, num_context)
            longer = config.num_context - value.shape[1]
            weights[name] = torch.cat([value, value[:, -1:].expand(-1, max(longer, 0))], dim=1)[:, : config.num_context]
    networks.load_state_dict(weights)
