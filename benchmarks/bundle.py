"""Put a run's checkpoint among the models that come with worldsim, with the figures of `worldsim compare`.

Usage: python benchmarks/bundle.py runs/city city-64 benchmarks/city/2026-11-22/compare.json
"""

import json
import shutil
import sys
from pathlib import Path

from worldsim.model import CHECKPOINTS, load


def main(run: str, name: str, figures: str) -> None:
    compared = json.loads(Path(figures).read_text())
    model = load(run)
    if compared["checkpoint_sha"] != model.sha:
        sys.exit(f"{figures} scores checkpoint {compared['checkpoint_sha']}; {run} holds {model.sha}: compare it again")
    source = Path(run) / "checkpoint"
    target = CHECKPOINTS / name
    target.mkdir(parents=True, exist_ok=True)
    for file in ("config.json", "model.safetensors", "starts.npz"):
        shutil.copyfile(source / file, target / file)
    keep = {key: value for key, value in compared.items() if key not in {"clips", "warnings"}}
    metrics = {**model.metrics, "compare": keep}
    (target / "metrics.json").write_text(json.dumps(metrics, indent=1, sort_keys=True) + "\n")
    for file in sorted(target.iterdir()):
        print(f"{file.name}: {file.stat().st_size / 1e6:.2f} MB")
    print(f"{load(name).name}: {load(name).num_parameters / 1e6:.2f} M parameters, sha {load(name).sha}")


if __name__ == "__main__":
    main(*sys.argv[1:])
