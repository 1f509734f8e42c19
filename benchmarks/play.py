"""The player as a person meets it: a real browser presses keys, and every figure is what the page saw.

    python benchmarks/play.py --model city-64 --seconds 600 --json benchmarks/speed/play.json

First in real time for ``--seconds``: late steps, time from a key to the first picture that knows of it, frames lost or
out of order, memory of the server and of the truth's process after each tenth. Then as fast as it goes, for a tenth of
the time. Needs the extra ``play``, playwright and Chromium.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright

KEYS = ("a", "d", "w", "s")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
PARTS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="city-64")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=200_000)
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server, address = start(args.model, args.seed, Path(folder))
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        try:
            page = browser.new_page()
            page.goto(address, wait_until="commit")
            wait_for_step(page)
            capped = drive(page, server.pid, args.seconds, args.seed)
            page.uncheck(".real-time")
            page.evaluate("document.activeElement.blur()")
            uncapped = drive(page, server.pid, args.seconds / PARTS, args.seed)
        finally:
            browser.close()
            server.send_signal(2)
            server.wait(60)
    result = {"model": args.model, "seconds": args.seconds, "real_time": capped, "uncapped": uncapped}
    print(json.dumps(result, indent=1))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(result, indent=1) + "\n")


def start(model: str, seed: int, folder: Path) -> tuple[subprocess.Popen, str]:
    ready = folder / "ready.json"
    code = "from worldsim.cli import main; main()"
    options = ["--model", model, "--seed", str(seed), "--port", "0", "--no-browser", "--json", str(ready)]
    server = subprocess.Popen([sys.executable, "-c", code, "play", *options])
    while not (ready.exists() and ready.read_text().endswith("}\n")):
        if server.poll() is not None:
            sys.exit("the player did not start")
        time.sleep(0.1)
    return server, json.loads(ready.read_text())["address"]


def wait_for_step(page: Page) -> None:
    while not page.evaluate("window.worldsimPlayer && worldsimPlayer.now && worldsimPlayer.now.t > 0"):
        time.sleep(0.1)


def drive(page: Page, pid: int, seconds: float, seed: int) -> dict[str, Any]:
    """Press a random key for a random time, again and again; begin another drive where one has ended."""
    rng = random.Random(seed)
    page.evaluate("worldsimPlayer.latencies.length = 0")
    first, begun, memory_mb, latencies = measured(page), time.monotonic(), [memory(pid)], []
    while (passed := time.monotonic() - begun) < seconds:
        if len(memory_mb) <= passed / seconds * PARTS:
            memory_mb.append(memory(pid))
        key = rng.choice(KEYS)
        page.keyboard.down(key)
        time.sleep(rng.uniform(0.15, 0.6))
        page.keyboard.up(key)
        time.sleep(rng.uniform(0.05, 0.3))
        latencies += page.evaluate("worldsimPlayer.latencies.splice(0)")
        if page.evaluate("worldsimPlayer.now.paused"):
            page.keyboard.press("r")
            while page.evaluate("worldsimPlayer.now.paused"):
                time.sleep(0.02)
    last, spent = measured(page), time.monotonic() - begun
    num_steps = last["steps"] - first["steps"]
    return {
        "steps_per_second": num_steps / spent,
        "late": (last["late"] - first["late"]) / max(num_steps, 1),
        "frames_per_second": (last["frames"] - first["frames"]) / spent,
        "frames_lost": last["lost"] - first["lost"],
        "frames_reordered": last["reordered"] - first["reordered"],
        "key_to_picture_ms": {f"p{q}": float(np.percentile(latencies, q)) for q in (50, 95, 99)},
        "keys": len(latencies),
        "model_ms": last["model_ms"],
        "memory_mb": [*memory_mb, memory(pid)],
    }


def measured(page: Page) -> dict[str, Any]:
    return page.evaluate("({...worldsimPlayer.now, ...worldsimPlayer, latencies: null, now: null})")


def memory(pid: int) -> float:
    """Return the resident memory of a process and its children, MB."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    fields = [Path(f"/proc/{one}/statm").read_text().split()[1] for one in (pid, *children)]
    return round(sum(map(int, fields)) * 4096 / 1e6, 1)


if __name__ == "__main__":
    main()
