"""The error of the physics benchmark's own ruler, measured on true frames, as JSON and as tables.

    python benchmarks/physics/table0.py [--clips 4] [--sizes 64 128] [--scenarios NAME ...] [--json FILE] [--md FILE]

About 3 s of CPU per clip at 64 pixels and 8 s at 128.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from worldsim.evaluate.physics.table0 import CORRUPTIONS, table0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--scenarios", nargs="+", default=None)
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--md", type=Path, default=None)
    args = parser.parse_args()

    def progress(done: int, wanted: int) -> None:
        print(f"\r{done} of {wanted} clips", end="", file=sys.stderr, flush=True)

    found = table0(sizes=args.sizes, scenarios=args.scenarios, clips=args.clips, progress=progress)
    print(file=sys.stderr)
    text = tables(found)
    print(text)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    if args.md:
        args.md.write_text(text + "\n")


def tables(found: dict[str, Any]) -> str:
    """Return three Markdown tables: by scenario on clean frames, by picture over all, and planted faults."""
    sizes = list(dict.fromkeys(row["size"] for row in found["rows"]))
    heads = ["scenario", *(f"{what}, {size}" for size in sizes for what in ("px", "mm", "m/s", "g"))]
    lines = [heads, ["---"] * len(heads)]
    cells = {(row["size"], row["scenario"], row["corruption"]): row for row in found["rows"]}
    for scenario in dict.fromkeys(row["scenario"] for row in found["rows"]):
        line = [scenario]
        for size in sizes:
            row = cells[size, scenario, "clean"]
            g = row.get("gravity_error")
            line += [f"{row['position_px']:.2f}", f"{1000 * row['position_m']:.0f}", f"{row['velocity_rmse']:.2f}"]
            line.append("" if g is None else f"{100 * g:.1f}%")
        lines.append(line)
    heads = ["frames", *(f"{what}, {size}" for size in sizes for what in ("px", "worst px", "g", "not found"))]
    more = [heads, ["---"] * len(heads)]
    for corruption in CORRUPTIONS:
        line = [corruption]
        for size in sizes:
            rows = [row for row in found["rows"] if (row["size"], row["corruption"]) == (size, corruption)]
            px = [row["position_px"] for row in rows]
            gravity = [row["gravity_error"] for row in rows if "gravity_error" in row]
            g = f"{100 * statistics.median(gravity):.1f}%" if gravity else ""
            gone = statistics.mean(row["not found"] for row in rows)
            line += [f"{statistics.median(px):.2f}", f"{max(px):.2f}", g, f"{100 * gone:.2f}%"]
        more.append(line)
    heads = ["planted", "size", "times", "noticed", "of what was noticed, true"]
    faults = [heads, ["---"] * len(heads)]
    for row in found["faults"]:
        shares = ["" if row[name] is None else f"{100 * row[name]:.0f}%" for name in ("recall", "precision")]
        faults.append([row["fault"], str(row["size"]), str(row["planted"]), *shares])
    return "\n\n".join("\n".join("| " + " | ".join(line) + " |" for line in part) for part in (lines, more, faults))


if __name__ == "__main__":
    main()
