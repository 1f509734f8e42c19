"""A bake-off by halving: designs of a world model on the same windows, for the same minutes, before the same judge.

    python benchmarks/bakeoff/run.py --data data/city3-train --val data/city3-val --minutes 20 --arms all \
        -o runs/bakeoff --threads 1

The next round is the best arms again, longer and elsewhere:

    python benchmarks/bakeoff/run.py ... --minutes 60 --arms patch8,convformer,two-stage -o runs/bakeoff-60

Everything is on disk: the same command goes on where it was killed, and table.md and results.json are written after
every arm, or at any time by table.py. All arms learn from true contexts only: no own frames, no critic, no weight of
contrast, no heads, no mirror; designs are compared, not tricks. An arm with several learning rates has a trial of a
third of the minutes for each, on top of its own minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from arms import ARMS, Arm, chosen
from judge import copy_last
from loop import Budget, Diverged, train_arm
from setting import Setting, open_setting
from speed import measure
from table import write_table

from worldsim.errors import WorldsimError
from worldsim.model import ModelConfig

_TRIAL_SHARE = 1 / 3
_LOOKS = 5  # at held-out clips, evenly over an arm's minutes; one at the end of a trial
_JUDGED_AT = 8  # steps: where trials of a learning rate are compared


def main() -> int:
    args = _parse()
    try:
        return _bake(args)
    except WorldsimError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from the last save, at most a minute ago", file=sys.stderr)
        return 130


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="store to learn from")
    parser.add_argument("--val", type=Path, required=True, help="store with held-out seeds")
    parser.add_argument("--minutes", type=float, required=True, help="per arm")
    parser.add_argument("--arms", default="all", help=f"all, or some of {', '.join(ARMS)}")
    parser.add_argument("-o", "--out", type=Path, required=True, help="directory of the bake-off")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clips", type=int, default=64, help="for the judge")
    parser.add_argument("--episodes", type=int, default=None, help="load so many of the episodes only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=None, help="learning rate that an earlier round chose: no trials")
    parser.add_argument("--muon", type=float, default=0.0, help="Muon's rate for matrices of blocks; 0: AdamW for all")
    parser.add_argument("--compile", action="store_true", help="compile the loss of every arm; needs a C++ compiler")
    return parser.parse_args()


def _bake(args: argparse.Namespace) -> int:
    names = chosen(args.arms)
    if not args.minutes > 0:
        raise WorldsimError(f"minutes must be more than 0; got {args.minutes:g}")
    _agree(args)
    torch.set_num_threads(args.threads)
    setting = open_setting(
        args.data,
        args.val,
        num_clips=args.clips,
        num_episodes=args.episodes,
        progress=_show,
    )
    print(f"loaded {setting.data.num_frames:,} frames; {len(setting.clips.captions)} clips to judge by")
    _write(args.out / "copy_last.json", asdict(copy_last(setting.clips)))
    if not (args.out / "speed.json").exists():
        measure(setting.world, args.out)
    for name in names:
        _run_arm(ARMS[name], setting, args, args.out / name)
        write_table(args.out)
    print(write_table(args.out))
    return 0


def _show(share: float) -> None:
    if sys.stderr.isatty():
        print(f"\rloading: {100 * share:.0f}%", end="\n" if share == 1 else "", file=sys.stderr, flush=True)


def _agree(args: argparse.Namespace) -> None:
    """Write the settings of a new bake-off, or check that a begun one is gone on with under the same ones."""
    settings = {
        "data": str(args.data),
        "val": str(args.val),
        "minutes": args.minutes,
        "threads": args.threads,
        "clips": args.clips,
        "episodes": args.episodes,
        "seed": args.seed,
        "muon": args.muon,
        "compile": args.compile,
    }
    path = args.out / "bakeoff.json"
    if path.exists():
        begun = {"muon": 0.0, **json.loads(path.read_text())}
        if other := [f"{key} {begun[key]}" for key in settings if begun[key] != settings[key]]:
            raise WorldsimError(f"{args.out} was begun with {', '.join(other)}; give the same, or another directory")
    else:
        args.out.mkdir(parents=True, exist_ok=True)
        _write(path, settings)


def _run_arm(arm: Arm, setting: Setting, args: argparse.Namespace, path: Path) -> None:
    """Train and judge an arm, unless that is done; a learning rate is chosen first where there are several."""
    if (path / "result.json").exists():
        print(f"{path.name} is done")
        return
    print(f"{path.name}: {arm.title}")
    rate = arm.rates[0]
    if len(arm.rates) > 1 and args.rate is not None:
        if args.rate not in arm.rates:
            rates = ", ".join(f"{trial:g}" for trial in arm.rates)
            raise WorldsimError(f"rate must be one of {rates}; got {args.rate:g}")
        rate = args.rate
    elif len(arm.rates) > 1:
        skills = {}
        for trial in arm.rates:
            result = _train(arm, setting, args, path / f"rate-{trial:g}", trial, _TRIAL_SHARE * args.minutes)
            if result["failed"] is None:
                skills[trial] = result["scores"]["skill"][_JUDGED_AT - 1]
                print(f"{path.name}: learning rate {trial:g} has skill {skills[trial]:.3f} at step {_JUDGED_AT}")
        if not skills:
            _write(path / "result.json", {"failed": "no learning rate kept the loss finite"})
            return
        rate = max(skills, key=lambda trial: skills[trial])
    _train(arm, setting, args, path, rate, args.minutes)


def _train(
    arm: Arm, setting: Setting, args: argparse.Namespace, path: Path, rate: float, minutes: float
) -> dict[str, Any]:
    """Return the result of a run that is in ``path`` when it is done."""
    done = path / "result.json"
    if done.exists():
        return json.loads(done.read_text())
    torch.manual_seed(args.seed)
    design = arm.make(setting.world, ModelConfig())
    data = setting.data
    features = design.text.features([english for english, _ in data.captions] or [None])
    budget = Budget(
        minutes=minutes,
        learning_rate=rate,
        muon_rate=args.muon,
        seed=args.seed,
        num_looks=_LOOKS if minutes == args.minutes else 1,
        compile=args.compile,
    )
    result: dict[str, Any] = {"learning_rate": rate, "failed": None}
    try:
        trained = train_arm(design, data, features, setting.clips, budget, path)
        result |= asdict(trained)
    except Diverged as error:
        result["failed"] = str(error)
    _write(done, result)
    return result


def _write(path: Path, value: Any) -> None:
    temporary = path.with_suffix(".partial")
    temporary.write_text(json.dumps(value, indent=1) + "\n")
    temporary.replace(path)


if __name__ == "__main__":
    sys.exit(main())
