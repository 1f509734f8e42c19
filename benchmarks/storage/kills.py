"""Kill concurrent writers of one store at random moments, 200 times, and count what was lost (nothing should be).

python benchmarks/storage/kills.py --kills 200 --writers 4 --json benchmarks/storage/kills.json
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from worldsim.store.kills import kill_writers


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts = kill_writers(Path(folder) / "store", num_kills=args.kills, num_writers=args.writers, seed=args.seed)
    text = json.dumps(counts, indent=1)
    print(text)
    if args.json is not None:
        args.json.write_text(text + "\n")
    return 1 if any(counts[what] for what in ("lost", "damaged", "duplicated", "faults_after")) else 0


if __name__ == "__main__":
    sys.exit(main())
