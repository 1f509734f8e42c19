"""The commands that look at a store and after it: inspect, repair, gc, compact, merge, import, export."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from worldsim._console import console, show_progress, show_table, write_json
from worldsim._options import Json, NoSeed, StorePath

__all__ = ["add_to"]

_ROWS_SHOWN = 10  # episodes
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to an app."""
    for command, example in _COMMANDS.items():
        app.command(example.split()[0], epilog=f"Example: worldsim {example}")(command)


def inspect(
    store: StorePath,
    report: Annotated[
        Path | None, typer.Option("-o", "--report", metavar="REPORT.html", help="Also as a page with episodes to play.")
    ] = None,
    sheet: Annotated[Path | None, typer.Option("--sheet", metavar="PNG", help="Also write frames to look at.")] = None,
    seed: NoSeed = 0,
    json_target: Json = None,
) -> int:
    """Show what a store holds, whether it is whole and in balance; exit 1 if it is not."""
    from worldsim.store import RolloutStore, card_text, contact_sheet, histograms, histograms_text
    from worldsim.store.inspect import EPISODE_COLUMNS, episode_rows
    from worldsim.store.report import report_html

    held, out = RolloutStore.open(store), console(json_target)
    faults = [str(fault) for fault in held.verify()]
    if faults:
        for fault in faults:
            out.print(f"fault: {fault}")
        out.print(f"{store}: {len(faults)} fault(s); worldsim repair {store} keeps what can be read")
        write_json(json_target, {"store": str(store), "faults": faults})
        return 1
    card, shapes = held.card, histograms(held)
    out.print(card_text(card))
    out.print(f"{'integrity':12} whole, every checksum matches")
    out.print(histograms_text(shapes))
    if len(held):
        rows = episode_rows(held, _ROWS_SHOWN)
        show_table(out, EPISODE_COLUMNS, rows, f"{len(rows)} of {len(held):,} episodes")
    if sheet is not None:
        contact_sheet(held, sheet)
        out.print(f"frames: {sheet}")
    if report is not None:
        report.write_text(report_html(held, card, shapes), encoding="utf-8")
        out.print(f"report: {report}")
    write_json(json_target, {**card, "faults": faults, "histograms": shapes})
    return 1 if any(check["ok"] is False for check in card["checks"]) else 0


def repair(store: StorePath, dry_run: DryRun = False, seed: NoSeed = 0, json_target: Json = None) -> int:
    """Make a damaged store whole again; exit 1 if episodes are lost. Nobody may write to it meanwhile."""
    from worldsim.store import repair as repair_store

    done, out = repair_store(store, dry_run=dry_run), console(json_target)
    for item in done:
        out.print(f"{'would repair' if dry_run else 'repaired'} {item}")
    num_lost = sum(item.num_lost for item in done)
    verdict = f"{len(done)} repair(s), {num_lost} episode(s) lost" if done else "whole, nothing to repair"
    out.print(f"{store}: {verdict}")
    facts = [{"file": item.file, "action": item.action, "lost": item.num_lost} for item in done]
    write_json(json_target, {"store": str(store), "dry_run": dry_run, "repairs": facts, "lost": num_lost})
    return 1 if num_lost else 0


def gc(
    store: StorePath,
    dry_run: DryRun = False,
    grace_hours: Annotated[
        float, typer.Option("--grace-hours", min=0, help="Leave alone what was written or replaced within this time.")
    ] = 24.0,
    seed: NoSeed = 0,
    json_target: Json = None,
) -> None:
    """Remove what killed writers left and what a compaction replaced."""
    from worldsim.store import RolloutStore

    out = console(json_target)
    removed = RolloutStore.open(store).gc(dry_run=dry_run, grace_s=3600 * grace_hours)
    for path in removed:
        out.print(f"{'would remove' if dry_run else 'removed'} {path}")
    out.print(f"{store}: {len(removed)} folder(s) and file(s) {'to remove' if dry_run else 'removed'}")
    write_json(json_target, {"store": str(store), "dry_run": dry_run, "removed": [str(path) for path in removed]})


def compact(
    store: StorePath,
    codec: Annotated[
        str | None, typer.Option("--codec", metavar="zstd|lz4|none", help="Also rewrite what is packed otherwise.")
    ] = None,
    seed: NoSeed = 0,
    json_target: Json = None,
) -> None:
    """Rewrite many small segments as few large ones; readers and writers may go on meanwhile."""
    from worldsim.store import RolloutStore

    held = RolloutStore.open(store)
    with show_progress() as progress:
        replaced = held.compact(codec=codec, progress=lambda done, total: progress("segments", done, total))
    console(json_target).print(f"{store}: {replaced} segment(s) rewritten; worldsim gc removes the old ones")
    write_json(json_target, {"store": str(store), "replaced": replaced, "version": held.version})


def merge(
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE...", help="Stores to take episodes from.")],
    store: Annotated[Path, typer.Option("-o", "--store", metavar="STORE", help="Where they go; made if missing.")],
    seed: NoSeed = 0,
    json_target: Json = None,
) -> None:
    """Bring the episodes of several stores into one, each once; run it again to go on where it stopped."""
    from worldsim.store import RolloutStore
    from worldsim.store import merge as merge_stores

    opened = [RolloutStore.open(source) for source in sources]
    held = RolloutStore.open_or_create(store)
    added = {}
    with show_progress() as progress:
        for source in opened:
            report = partial(progress, str(source.path))
            added[str(source.path)] = merge_stores(held, source, progress=report)
    for name, count in added.items():
        console(json_target).print(f"{name}: {count} episode(s) added")
    console(json_target).print(f"{store}: {len(held)} episodes")
    write_json(json_target, {"store": str(store), "added": added, "episodes": len(held)})


def import_(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A file or directory in another format.")],
    store: Annotated[Path, typer.Option("-o", "--store", metavar="STORE", help="Where it goes; made if missing.")],
    source_format: Annotated[
        str | None, typer.Option("--from", metavar="FORMAT", help="Told from the files if not given.")
    ] = None,
    seed: NoSeed = 0,
    json_target: Json = None,
) -> None:
    """Bring episodes of another format into a store; each once, however often it is run."""
    from worldsim.store import RolloutStore, import_into
    from worldsim.store.formats import format_of

    source_format = format_of(source, source_format)  # before there is a store of nothing
    held = RolloutStore.open_or_create(store)
    with show_progress() as progress:
        added = import_into(held, source, source=source_format, progress=lambda done: progress("episodes", done, done))
    console(json_target).print(f"{store}: {added} episode(s) added, {len(held)} in all")
    write_json(json_target, {"store": str(store), "added": added, "episodes": len(held)})


def export(
    store: StorePath,
    target_format: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="FORMAT",
            help="minari, lerobot, lerobot-mp4, npz, hdf5, swm, swm-lance, diffusion-policy or mp4.",
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="PATH", help="A new file or directory.")],
    seed: NoSeed = 0,
    json_target: Json = None,
) -> None:
    """Write the episodes of a store in another format, and say what that does not keep."""
    from worldsim.store import RolloutStore, export_store

    held = RolloutStore.open(store)
    with show_progress() as progress:
        lost = export_store(held, out, to=target_format, progress=lambda done: progress("episodes", done, len(held)))
    console(json_target).print(f"{out}: {len(held)} episodes")
    for loss in lost or ["nothing"]:
        console(json_target).print(f"not kept: {loss}")
    write_json(json_target, {"path": str(out), "format": target_format, "episodes": len(held), "lost": lost})


_COMMANDS = {
    inspect: "inspect rollouts -o report.html",
    repair: "repair rollouts --dry-run",
    gc: "gc rollouts --dry-run",
    compact: "compact rollouts --codec lz4",
    merge: "merge part1 part2 -o rollouts",
    import_: "import recorded.hdf5 -o rollouts",
    export: "export rollouts --to minari -o datasets/street-v0",
}
