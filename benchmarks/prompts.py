"""Does the imagined city become what a prompt says? Read by a probe that was trained on true frames.

A drive begins from true frames; then a prompt asks for another time of day, weather or traffic, in a wording of the
training captions, in one that no caption had, and in Chinese. After `STEPS` steps under the drive's own actions, a
small probe reads the imagined frames. The probe's own accuracy on true frames it never saw is the ceiling; what it
reads without any prompt is the floor. Of what was not asked for, hour or weather, "kept" says how often it stayed.

A drive is told its caption, as the starts of an imagined world are; a prompt then repaints its last frame if the model
does so by default or with --repaint. With --no-repaint the model is told nothing but the prompt.

python benchmarks/prompts.py city-64 -o benchmarks/city/prompts.json [--episodes 24] [--guidance 1] [--no-repaint]
"""

import argparse
import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from torch import nn
from worldsim_envs.city.words import SCENE

import worldsim  # noqa: F401 - registers the worlds
from worldsim.evaluate.setting import provenance
from worldsim.model import load

FACTORS = {
    "time_of_day": ("day", "dusk", "night"),
    "weather": ("clear", "rain", "fog"),
    "traffic": ("light", "heavy"),
}
TRAIN_SEED, CHECK_SEED, TEST_SEED = 90_000, 108_000, 205_000
WARM, STEPS = 24, 30  # true steps before the prompt, imagined steps after it
READ = (20, 24, 28)  # imagined steps whose frames are read; the probe's answers are averaged


def drive(env, seed, variation, num_steps):
    """Return (frames, actions) of a drive by the mixture, or None if it ends early."""
    obs, info = env.reset(seed=seed, options={"variation": {**variation, "change": "none"}})
    act = env.unwrapped.policies["mixture"](seed)
    frames, actions = [obs], []
    for _ in range(num_steps):
        actions.append(act(obs, info))
        obs, _, terminated, _, info = env.step(actions[-1])
        frames.append(obs)
        if terminated:
            return None
    return np.stack(frames), np.stack(actions)


def caption_of(env, seed, variation):
    """Return the caption of a drive."""
    _, info = env.reset(seed=seed, options={"variation": {**variation, "change": "none"}})
    return info["caption"]["en"]


def conditions(rng):
    """Return one value of every factor; dusk and fog never meet in training."""
    while True:
        drawn = {name: str(rng.choice(values)) for name, values in FACTORS.items()}
        if (drawn["time_of_day"], drawn["weather"]) != ("dusk", "fog"):
            return drawn


def features(frames):
    """(N, H, W, 3) uint8 to (N, F): colours and detail of a coarse grid, as blur and warping leave them."""
    x = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 255  # (N, 3, H, W)
    mean = nn.functional.adaptive_avg_pool2d(x, 8)
    return mean.flatten(1)


def train_probe(xs, labels, num_classes, seed=0):
    """Return a function from features to probabilities."""
    torch.manual_seed(seed)
    mean, std = xs.mean(0), xs.std(0) + 1e-3
    net = nn.Sequential(nn.Linear(xs.shape[1], 64), nn.ReLU(), nn.Linear(64, num_classes))
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-2)
    for _ in range(300):
        rows = torch.randint(len(xs), (256,))
        noisy = (xs[rows] - mean) / std + 0.1 * torch.randn(len(rows), xs.shape[1])
        loss = nn.functional.cross_entropy(net(noisy), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return lambda x: net((x - mean) / std).softmax(-1).detach()


def truth_of(model):
    """Return the world that a model imagines, at its size."""
    return gym.make(model.spec.env_id, disable_env_checker=True, **model.spec.env_kwargs)


def true_frames(model, num, seed, stride):
    """Return (features, labels by factor) of frames from `num` drives under drawn conditions."""
    env, rng = truth_of(model), np.random.default_rng(seed)
    rows, labels = [], {name: [] for name in FACTORS}
    for i in range(num):
        drawn = conditions(rng)
        driven = drive(env, seed + i, drawn, 48)
        if driven is None:
            continue
        seen = driven[0][::stride]
        rows.append(features(seen))
        for name, values in FACTORS.items():
            labels[name] += [values.index(drawn[name])] * len(seen)
    env.close()
    return torch.cat(rows), {name: torch.tensor(values) for name, values in labels.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--episodes", type=int, default=24, help="drives of each prompt")
    parser.add_argument("--guidance", type=float, default=1.0)
    parser.add_argument("--repaint", action=argparse.BooleanOptionalAction, help="the model's default if not said")
    parser.add_argument("--seed", type=int, default=TEST_SEED, help="of the first drive")
    options = parser.parse_args()
    model = load(options.model)
    repaints = model.repaints if options.repaint is None else options.repaint
    xs, labels = true_frames(model, 240, TRAIN_SEED, 4)
    check_xs, check_labels = true_frames(model, 60, CHECK_SEED, 8)
    probes = {name: train_probe(xs, labels[name], len(values)) for name, values in FACTORS.items()}
    ceiling = {n: float((p(check_xs).argmax(-1) == check_labels[n]).float().mean()) for n, p in probes.items()}
    print("the probe on true frames it never saw:", {n: round(v, 3) for n, v in ceiling.items()}, flush=True)

    env, rng = truth_of(model), np.random.default_rng(options.seed)
    asked = [(f, v) for f, values in FACTORS.items() for v in values]
    drives = {pair: [] for pair in asked}  # (frames, actions, prompts by kind, conditions, caption)
    seed = options.seed
    for factor, value in asked:
        while len(drives[factor, value]) < options.episodes:
            drawn = conditions(rng)
            seed += 1
            clash = {**drawn, factor: value}
            if drawn[factor] == value or (clash["time_of_day"], clash["weather"]) == ("dusk", "fog"):
                continue
            driven = drive(env, seed, drawn, WARM + STEPS)
            if driven is None:
                continue
            said = SCENE[factor, value]
            prompts = {
                "none": None,
                "training wording": str(rng.choice(said["en"].train)),
                "unseen wording": str(rng.choice(said["en"].held_out)),
                "Chinese": str(rng.choice(said["zh"].train)),
                "unseen Chinese": str(rng.choice(said["zh"].held_out)),
            }
            drives[factor, value].append((*driven, prompts, drawn, caption_of(env, seed, drawn)))
    env.close()

    kinds = ("none", "training wording", "unseen wording", "Chinese", "unseen Chinese")
    context = model.config.num_context
    rows = []
    for (factor, value), kept in drives.items():
        start = np.stack([drive[0][WARM - context + 1 : WARM + 1] for drive in kept])
        before = np.stack([drive[1][WARM - context + 1 : WARM] for drive in kept])
        after = np.stack([drive[1][WARM:] for drive in kept])
        captions = [drive[4] for drive in kept]
        row = {"factor": factor, "asked": value, "n": len(kept), "kept": {}}
        for kind in kinds:
            prompts = [drive[2][kind] for drive in kept]
            told = captions if repaints else prompts
            state = model.encode(start, before, prompts=told, seeds=np.arange(len(kept)))
            if repaints and kind != "none":
                wanted = [model.retold(*pair) for pair in zip(captions, prompts, strict=True)]
                state = model.repaint(state, wanted, told=captions)
            read = {name: torch.zeros(len(kept), len(values)) for name, values in FACTORS.items()}
            for t in range(STEPS):
                state, predicted = model.step(state, after[:, t], guidance=options.guidance)
                if t + 1 in READ:
                    for name, probe in probes.items():
                        read[name] += probe(features(predicted.frames))
            row[kind] = float((read[factor].argmax(-1) == FACTORS[factor].index(value)).float().mean())
            others = [name for name in ("time_of_day", "weather") if name != factor]
            same = [
                int(read[name][i].argmax()) == FACTORS[name].index(drive[3][name])
                for name in others
                for i, drive in enumerate(kept)
            ]
            row["kept"][kind] = float(np.mean(same))
        rows.append(row)
        print(row, flush=True)
    means = {kind: float(np.mean([row[kind] for row in rows])) for kind in kinds}
    print("mean", means)
    if options.output:
        result = {
            "model": model.name,
            "checkpoint_sha": model.sha,
            "seed": options.seed,
            "guidance": options.guidance,
            "repaint": repaints,
            "probe_on_truth": ceiling,
            "rows": rows,
            "mean": means,
            **provenance(),
        }
        options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
