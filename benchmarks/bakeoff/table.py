"""The table of a bake-off, finished or not, from what lies in its directory: `table.py -o runs/bakeoff`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from arms import ARMS, REFERENCE

from worldsim.train.git import commit_name

__all__ = ["write_table"]

_SKILL_AT, _SHARPNESS_AT = (1, 8, 16), (4, 8, 16)
_LEAST_CEILING = 0.85
"""Of a round trip through a codec, at every step of _SKILL_AT; below it an arm of latents has failed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, required=True, help="directory of the bake-off")
    print(write_table(parser.parse_args().out))


def write_table(out: Path) -> str:
    """Write ``out``/table.md and ``out``/results.json, and return the table."""
    settings = _read(out / "bakeoff.json")
    if settings is None:
        raise SystemExit(f"error: {out} holds no bake-off; give the directory that run.py wrote to")
    speed = _read(out / "speed.json") or {"rows": {}}
    rows = [row for name in ARMS if (row := _row(out / name, settings["minutes"])) is not None]
    naive = _read(out / "copy_last.json")
    result = {
        "settings": settings,
        "commit": commit_name(),
        "copy_last": naive,
        "speed": speed,
        "rows": rows,
    }
    _write(out / "results.json", json.dumps(result, indent=1) + "\n")
    head = [
        "arm",
        "state",
        "skill 1 / 8 / 16",
        "moving 1 / 8 / 16",
        "sharpness 4 / 8 / 16",
        "shuffle",
        "parameters",
        "frames seen",
        "trained /s",
        "imagined /s, 1 stream",
        "64 streams",
    ]
    lines = [head, ["---"] * len(head)]
    if naive is not None:
        lines.append(["copy-last", "", *_figures(naive), *[""] * 5])
    for row in rows:
        seen = row["frames_seen"]
        lines.append(
            [
                row["arm"],
                row["state"],
                *(_figures(row["scores"]) if row["scores"] else [""] * 4),
                _of(speed["rows"].get(row["arm"]), "parameters", lambda n: f"{n / 1e6:.2f} M"),
                "" if seen is None else f"{seen:,}",
                _of(row, "frames_per_second", lambda n: f"{n:.0f}"),
                *_fps(speed["rows"], row["arm"]),
            ]
        )
        if row["ceiling"]:
            lines.append([f"{row['arm']}: round trip", "", *_figures(row["ceiling"]), *[""] * 5])
    text = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    about = (
        f"{settings['minutes']:g} minutes per arm on {settings['threads']} thread(s), {settings['clips']} clips, seed "
        f"{settings['seed']}; true contexts only. Speeds in brackets are over {REFERENCE}'s."
    )
    text = f"{about}\n\n{text}\n"
    _write(out / "table.md", text)
    return text


def _row(path: Path, minutes: float) -> dict[str, Any] | None:
    """Return what is known of an arm; None if it was not begun."""
    done = _read(path / "result.json")
    curve = _read_lines(path / "curve.jsonl")
    trials = {p.name.removeprefix("rate-"): p for p in sorted(path.glob("rate-*"))}
    if done is None and not curve and not trials:
        return None
    row: dict[str, Any] = {"arm": path.name, "title": ARMS[path.name].title, "scores": None, "ceiling": None}
    row |= {"frames_seen": None, "frames_per_second": None, "learning_rate": None, "failed": None}
    row["trials"] = {rate: _read(trial / "result.json") for rate, trial in trials.items()}
    row["curve"] = curve
    if done is not None:
        row |= done
    else:
        for line in curve:
            if line["kind"] == "scores":
                row["scores"] = line
            elif line["kind"] == "ceiling":
                row["ceiling"] = line
            else:
                row |= {"frames_seen": line["frames"], "frames_per_second": line["frames_per_second"]}
    bound = row["ceiling"]
    if bound and min(bound["skill"][i - 1] for i in _SKILL_AT) < _LEAST_CEILING:
        row["failed"] = f"round trip below {_LEAST_CEILING}"
    share = curve[-1]["minutes"] / minutes if curve else 0.0
    row["state"] = f"failed: {row['failed']}" if row["failed"] else "done" if done else f"{100 * share:.0f}%"
    if not curve and done is None:
        row["state"] = "trials of the learning rate"
    return row


def _figures(scores: dict[str, Any]) -> list[str]:
    def at(name: str, steps: tuple[int, ...]) -> str:
        return " / ".join(f"{scores[name][s - 1]:.2f}" for s in steps)

    ratio = scores["action_shuffle_ratio"]
    shuffle = "" if ratio is None else f"{ratio:.2f}"
    return [at("skill", _SKILL_AT), at("skill_moving", _SKILL_AT), at("sharpness", _SHARPNESS_AT), shuffle]


def _fps(rows: dict[str, Any], arm: str) -> list[str]:
    if arm not in rows:
        return ["", ""]
    return [f"{rows[arm][key]:.1f} ({rows[arm][key] / rows[REFERENCE][key]:.1f}x)" for key in ("fps_1", "fps_64")]


def _of(row: dict[str, Any] | None, key: str, form: Any) -> str:
    return "" if row is None or row.get(key) is None else form(row[key])


def _read(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a curve; a line that is just being written is left out."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def _write(path: Path, text: str) -> None:
    temporary = path.with_suffix(path.suffix + ".partial")
    temporary.write_text(text)
    temporary.replace(path)


if __name__ == "__main__":
    main()
