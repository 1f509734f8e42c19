"""Stream frames into a store step by step, then read random windows for some minutes, and watch the memory stay flat.

python benchmarks/storage/soak.py --frames 100000 --minutes 10 --json benchmarks/storage/soak.json
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from worldsim.store.soak import soak


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--size", type=int, default=64, help="pixels a side")
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = soak(Path(folder) / "store", num_frames=args.frames, minutes=args.minutes, size=args.size)
    text = json.dumps(result, indent=1)
    print(text)
    if args.json is not None:
        args.json.write_text(text + "\n")
    return 0 if result["is_flat"] else 1


if __name__ == "__main__":
    sys.exit(main())
