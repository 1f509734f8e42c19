"""Let processes commit to one store at the same moment, 1,000 times, and count what was lost (nothing should be).

python benchmarks/storage/races.py --rounds 1000 --json benchmarks/storage/races.json
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from worldsim.store.races import race


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--writers", type=int, default=2)
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts = race(Path(folder) / "store", num_rounds=args.rounds, num_writers=args.writers)
    text = json.dumps(counts, indent=1)
    print(text)
    if args.json is not None:
        args.json.write_text(text + "\n")
    return 1 if counts["lost"] or counts["duplicated"] or counts["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
