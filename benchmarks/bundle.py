"""Put a run's checkpoint among the models that come with worldsim, with its figures on the test seeds.

They are those of `worldsim compare`, or for a renderer those of `benchmarks/render.py`; with those of
`benchmarks/first_frames.py` only what draws first frames is put beside a model that is there already.

Usage: python benchmarks/bundle.py runs/city city-64 benchmarks/city/2026-11-22/compare.json
       python benchmarks/bundle.py runs/city-first city-64 benchmarks/city/2026-11-23-first-frames/first_frames.json
       python benchmarks/bundle.py runs/city-render city-render-64 benchmarks/city/2026-11-22-render/render.json
"""

import json
import shutil
import sys
from pathlib import Path

from worldsim.model import CHECKPOINTS, FIRST_FRAMES, load, load_renderer
from worldsim.sim.uncertainty import CALIBRATION_FILE


def main(run: str, name: str, figures: str) -> None:
    compared = json.loads(Path(figures).read_text())
    is_renderer = (Path(run) / "checkpoint" / "renderer.json").is_file()
    load_one = load_renderer if is_renderer else load
    model = load_one(run)
    if compared["checkpoint_sha"] != model.sha:
        sys.exit(f"{figures} scores checkpoint {compared['checkpoint_sha']}; {run} holds {model.sha}: compare it again")
    source = Path(run) / "checkpoint"
    target = CHECKPOINTS / name
    if "likeness" in compared:
        add_first_frames(source, target, compared)
        return
    before = load_one(str(target)).sha if (target / "model.safetensors").exists() else model.sha
    target.mkdir(parents=True, exist_ok=True)
    own = ("renderer.json",) if is_renderer else ("config.json", "starts.npz")
    for file in (*own, "model.safetensors"):
        shutil.copyfile(source / file, target / file)
    if is_renderer:
        metrics = {**model.metrics, "test": compared}
    else:
        keep = {key: value for key, value in compared.items() if key not in {"clips", "warnings"}}
        metrics = {**model.metrics, "compare": keep}
    (target / "metrics.json").write_text(json.dumps(metrics, indent=1, sort_keys=True) + "\n")
    for stale in (target / FIRST_FRAMES, target / CALIBRATION_FILE):  # of the weights that were here before
        if stale.exists() and before != model.sha:
            print(f"{stale.name} belongs to other weights and is removed: make it again")
            shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
    for file in sorted(target.iterdir()):
        print(f"{file.name}: {file.stat().st_size / 1e6:.2f} MB")
    bundled = load_one(name)
    print(f"{bundled.name}: {bundled.num_parameters / 1e6:.2f} M parameters, sha {bundled.sha}")


def add_first_frames(source: Path, target: Path, figures: dict) -> None:
    """Copy what draws first frames into a bundled model, with its figures."""
    own, theirs = source / FIRST_FRAMES, target / FIRST_FRAMES
    if load(target).sha != figures["checkpoint_sha"]:
        sys.exit(f"{target} holds another world model than the one that {source} was trained behind")
    shutil.rmtree(theirs, ignore_errors=True)
    shutil.copytree(own, theirs)
    config = json.loads((own / "config.json").read_text())
    config["config"] |= {name: figures[name] for name in ("sampler_steps", "guidance")}  # as it was measured
    (theirs / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    metrics = {**json.loads((own / "metrics.json").read_text()), "test": figures}
    (theirs / "metrics.json").write_text(json.dumps(metrics, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
    for file in sorted(theirs.iterdir()):
        print(f"{file.name}: {file.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(*sys.argv[1:])
