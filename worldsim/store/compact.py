"""Rewriting many small segments as few large ones, commit by commit, while others read and append.

A run of neighbours becomes one segment that takes their place, so episodes keep their numbers. A killed compaction has
finished some runs and not begun the others.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from worldsim.errors import StoreError
from worldsim.store.codecs import check_codec, codec_name
from worldsim.store.commit_log import live_commits, newest_version, read_commits
from worldsim.store.format import SEGMENTS, Commit, check_store
from worldsim.store.index import read_entries
from worldsim.store.place import Place
from worldsim.store.segment import SegmentFiles
from worldsim.store.segment_reader import SegmentReader
from worldsim.store.writer import commit_segment

__all__ = ["FRAMES_PER_SEGMENT", "compact"]

FRAMES_PER_SEGMENT = 16_384
"""About 20 to 60 MB of packed 64-pixel frames."""


def compact(
    place: Place,
    *,
    frames_per_segment: int,
    codec: str | None,
    progress: Callable[[int, int], None] | None,
) -> int:
    """Rewrite runs of small segments of the newest version, and return how many segments that replaced.

    Raises:
        StoreError: If a segment is damaged, or another process replaces one of them at the same time.
    """
    own_codec = check_store(place)
    target = own_codec if codec is None else check_codec(codec)
    commits = read_commits(place, 1, newest_version(place))
    runs = _runs(place, live_commits(commits), frames_per_segment, codec)
    total, done = sum(map(len, runs)), 0
    for run in runs:
        commits = [*commits, *read_commits(place, len(commits) + 1, newest_version(place))]
        _rewrite(place, run, commits, target)
        done += len(run)
        if progress is not None:
            progress(done, total)
    return done


def _runs(place: Place, live: list[Commit], frames_per_segment: int, codec: str | None) -> list[list[Commit]]:
    """Return neighbours that fit into one segment together, and single ones that are packed otherwise than asked."""
    runs: list[list[Commit]] = []
    for commit in live:
        if runs and sum(member.num_rows for member in runs[-1]) + commit.num_rows <= frames_per_segment:
            runs[-1].append(commit)
        else:
            runs.append([commit])
    return [run for run in runs if len(run) > 1 or (codec is not None and _codec_of(place, run[0]) != codec)]


def _codec_of(place: Place, commit: Commit) -> str | None:
    name = f"{SEGMENTS}/{commit.segment}/obs/zarr.json"
    try:
        return codec_name(json.loads(place.read(name)))
    except (OSError, KeyError, UnicodeDecodeError, json.JSONDecodeError):
        raise StoreError(f"{place.at(name)} is missing or damaged; run worldsim repair") from None


def _rewrite(place: Place, run: list[Commit], commits: list[Commit], codec: str) -> None:
    with place.errors():
        files = SegmentFiles(place, codec)
    num_episodes = 0
    try:
        for commit in run:
            segment = SegmentReader(place, commit)
            for entry in read_entries(place, commit):
                rollout = segment.episode(entry)
                with place.errors():
                    files.add(rollout, entry.info)
                num_episodes += 1
    except BaseException:
        files.discard()
        raise
    removes = [str(commit.segment) for commit in run]
    commit_segment(place, files, run[0].schema, commits, keys=[None] * num_episodes, removes=removes)
