"""What one of several processes does in `test_ranks.py`: the first steps of a run, and what came of them."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import torch

from worldsim.model import PRECISION_VARIABLE
from worldsim.train import TrainConfig, train
from worldsim.train.loop import _Trainer

CONFIG = TrainConfig(
    batch=4,
    length=6,
    report_s=0.0,
    validate_s=1e9,
    save_s=1e9,
    own_frames_from=0.0,  # the critic, own frames and the led weight from the first step on
    own_frames_share=0.5,
    learning_rate=1e-3,
    warmup_steps=5,
)
STEPS = 3


def main(store, out, kind):
    os.environ[PRECISION_VARIABLE] = "float32"  # so that a difference cannot hide behind rounding
    _Trainer._validate = lambda self: None
    norms, clip = [], torch.nn.utils.clip_grad_norm_

    def clip_and_tell(parameters, limit):
        norm = clip(parameters, limit)
        norms.append(float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm))

    torch.nn.utils.clip_grad_norm_ = clip_and_tell
    trainers, begin = [], _Trainer.__init__

    def begin_and_tell(self, *args, **kwargs):
        trainers.append(self)
        begin(self, *args, **kwargs)

    _Trainer.__init__ = begin_and_tell
    config = replace(CONFIG, shard=kind == "divided", accumulate=2 if kind == "accumulated" else 1)
    train(store, out / "run", preset="tiny", steps=STEPS, config=config, log=lambda line: None)
    trainer = trainers[0]
    critic = torch.cat([value.flatten() for value in trainer.critic.state_dict().values()])
    led = torch.tensor([trainer.contrast_weight, trainer.elapsed_s], dtype=torch.float64)
    own = list(norms)
    norms.clear()
    quiet = replace(config, own_frames_share=0.0, deep_share=0.0, muon_rate=0.0)
    os.environ["MASTER_PORT"] = os.environ["SECOND_PORT"]
    train(store, out / "true_contexts", preset="tiny", steps=STEPS, config=quiet, log=lambda line: None)
    told = {"norms": own, "norms_true_contexts": norms, "critic": critic, "led": led}
    torch.save(told, out / f"rank{trainer.ranks.rank}.pt")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
