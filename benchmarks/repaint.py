"""Let prompts repaint the frames of a model whose first frames were trained before training wrote what that takes.

Beside the network goes which words its captions never hold together, from a store of captions; with --default a prompt
repaints unless something else is asked for.

    python benchmarks/repaint.py data/city-train city-64 --default
"""

import argparse
import json

from worldsim.model import FIRST_FRAMES, Exclusions, load
from worldsim.model.checkpoint import write_file, write_json
from worldsim.store import RolloutStore

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store")
    parser.add_argument("model")
    parser.add_argument("--default", action="store_true")
    options = parser.parse_args()
    store, model = RolloutStore.open(options.store), load(options.model)
    assert model.path is not None
    folder = model.path / FIRST_FRAMES
    captions = {(en, zh) for i in range(len(store)) for _, en, zh in store.info(i).captions}
    found = Exclusions.of_captions(model.networks.text.vocabulary, sorted(captions))
    write_file(folder / "exclusions.npz", found.to_bytes())
    whole = json.loads((folder / "config.json").read_text())
    whole["config"]["repaint"] = options.default
    write_json(folder / "config.json", whole)
    print(f"{found.table.sum() // 2} pairs of {len(found.vocabulary)} words, from {len(captions)} captions")
