"""A LeRobotDataset of version 3: steps as rows in Parquet, frames as PNG in them or as films beside them.

It has a row per step, so the frame behind the last step of an episode has no place in it; that frame and what else
LeRobot does not know stand in ``meta/worldsim.parquet``, which its readers pass over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.errors import MissingExtraError, StoreError
from worldsim.rollout import Rollout
from worldsim.store.formats.episodes import Item, Progress, build, describe, has_states
from worldsim.store.formats.films import FilmWriter, decibels, load_av, read_film
from worldsim.store.formats.lerobot_stats import feature_stats, pooled_stats
from worldsim.store.formats.pictures import from_png, to_png
from worldsim.store.store import RolloutStore

__all__ = ["is_at", "read", "write_films", "write_images"]

_EXTRA = "lerobot"
_IMAGE = "observation.image"
_CHUNK = "chunk-{chunk_index:03d}/file-{file_index:03d}"
_DATA, _FILM = f"data/{_CHUNK}.parquet", f"videos/{{video_key}}/{_CHUNK}.mp4"
_INFO, _STATS, _TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
_EPISODES, _OURS = f"meta/episodes/{_CHUNK}.parquet", "meta/worldsim.parquet"
_DATA_MB, _FILM_MB, _FILES_PER_CHUNK = 100, 200, 1000  # LeRobot's own limits
_KEY_EVERY = 2  # frames, as LeRobot has it: its readers jump to single frames
_COUNTERS = ("timestamp", "frame_index", "episode_index", "index", "task_index")
_ENDS = ("next.done", "next.terminated", "next.truncated")
_ROWS_AT_ONCE = 256


def is_at(path: Path) -> bool:
    """Return whether a path is a LeRobotDataset of any version."""
    return (path / _INFO).exists()


def write_images(store: RolloutStore, path: Path, progress: Progress) -> list[str]:
    """Write a store as a LeRobotDataset with lossless frames, each a PNG in its row."""
    return _write(store, path, progress, as_films=False)


def write_films(store: RolloutStore, path: Path, progress: Progress) -> list[str]:
    """Write a store as a LeRobotDataset whose frames are films, many episodes in each."""
    return _write(store, path, progress, as_films=True)


def _write(store: RolloutStore, path: Path, progress: Progress, *, as_films: bool) -> list[str]:
    pa, pq = _arrow()
    if as_films:
        load_av(_EXTRA)
    rate = max(1, round(1 / store.info(0).control_dt))
    losses = ["its rows have no frame behind the last step and no captions in Chinese; they stand in meta/worldsim"]
    if any(abs(rate * store.info(i).control_dt - 1) > 1e-6 for i in range(len(store))):
        losses.append(f"it takes one whole number of frames per second; {rate} stands for every episode")
    if has_states(store):
        losses.append("the states of bodies have no place in it")
    features = _features(store, as_films)
    tasks: dict[str, int] = {}
    episodes: list[dict[str, Any]] = []
    stats: list[dict[str, Any]] = []
    data, films = _DataFiles(path), _FilmFiles(path, rate)
    (path / "meta").mkdir(parents=True)
    ours_schema = pa.schema({"episode_index": pa.int64(), "facts": pa.string(), "last_frame": pa.binary()})
    with data, films, pq.ParquetWriter(path / _OURS, ours_schema) as ours:
        start = 0
        for i in range(len(store)):
            rollout = store.episode(i)
            num_steps, texts = len(rollout), _tasks_of(rollout)
            columns = _columns(rollout, i, start, [tasks.setdefault(text, len(tasks)) for text in texts], rate)
            row = {"episode_index": i, "tasks": list(dict.fromkeys(texts)), "length": num_steps}
            row |= {"dataset_from_index": start, "dataset_to_index": start + num_steps}
            if as_films:
                row |= films.add(rollout.obs[:-1])
            row |= data.add(_table(columns, None if as_films else rollout.obs[:-1]))
            stats.append(feature_stats(columns, {_IMAGE: rollout.obs[:-1]}))
            row |= {f"stats/{name}/{key}": v.tolist() for name, found in stats[-1].items() for key, v in found.items()}
            episodes.append({**row, "meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0})
            facts = {**describe(store, i), "bodies": None}
            facts["action"] = [rollout.action.dtype.name, list(rollout.action.shape[1:])]
            line = [[i], [json.dumps(facts, ensure_ascii=False)], [to_png(rollout.obs[-1])]]
            ours.write_table(pa.table(line, schema=ours_schema))
            start += num_steps
            progress(i + 1)
    if as_films:
        features[_IMAGE]["info"] = films.facts(store.height, store.width)
        losses.insert(
            0, f"frames are lossy H.264: {_film_decibels(store, path, episodes, rate):.1f} dB from the originals"
        )
    _write_meta(path, features, tasks, episodes, pooled_stats(stats), rate, as_films)
    return losses


def _features(store: RolloutStore, as_films: bool) -> dict[str, Any]:
    schema = store.schema
    dims = [dim["name"] for dim in store.info(0).action_spec]
    size = int(np.prod(schema.action_shape))
    names = dims if len(dims) == size else [f"action_{k}" for k in range(size)]
    kind, frame = "video" if as_films else "image", [store.height, store.width, 3]
    features = {
        _IMAGE: {"dtype": kind, "shape": frame, "names": ["height", "width", "channels"]},
        "action": {"dtype": np.dtype(schema.action_dtype).name, "shape": [size], "names": names},
        "next.reward": {"dtype": "float32", "shape": [1], "names": None},
    }
    features |= {name: {"dtype": "bool", "shape": [1], "names": None} for name in _ENDS}
    for name in _COUNTERS:
        dtype = "float32" if name == "timestamp" else "int64"
        features[name] = {"dtype": dtype, "shape": [1], "names": None}
    return features


def _tasks_of(rollout: Rollout) -> list[str]:
    """Return what LeRobot calls the task, per step: the caption in force, else the env's id."""
    captions = [rollout.caption_at(t) for t in range(len(rollout))]
    return [caption.en if caption else rollout.env_id or "unknown" for caption in captions]


def _columns(rollout: Rollout, episode: int, start: int, tasks: Sequence[int], rate: int) -> dict[str, np.ndarray]:
    steps = np.arange(len(rollout))
    return {
        "action": rollout.action.reshape(len(rollout), -1),
        "next.reward": rollout.reward,
        "next.done": rollout.terminated | rollout.truncated,
        "next.terminated": rollout.terminated,
        "next.truncated": rollout.truncated,
        "timestamp": (steps / rate).astype(np.float32),
        "frame_index": steps,
        "episode_index": np.full(len(steps), episode),
        "index": start + steps,
        "task_index": np.array(tasks),
    }


def _table(columns: Mapping[str, np.ndarray], frames: np.ndarray | None) -> Any:
    pa, _ = _arrow()
    arrays: dict[str, Any] = {}
    if frames is not None:
        pictures = [{"bytes": to_png(frame), "path": None} for frame in frames]
        arrays[_IMAGE] = pa.array(pictures, pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    for name, values in columns.items():
        flat = pa.array(values.reshape(-1))
        is_vector = values.ndim == 2 and values.shape[1] > 1  # of one value LeRobot makes a plain column
        arrays[name] = pa.FixedSizeListArray.from_arrays(flat, values.shape[1]) if is_vector else flat
    return pa.table(arrays)


class _DataFiles:
    """The rows of all episodes, in files of bounded size."""

    def __init__(self, root: Path) -> None:
        self._root, self._writer, self._number, self._num_bytes = root, None, -1, 0

    def add(self, table: Any) -> dict[str, int]:
        """Write the rows of an episode and return where they went."""
        _, pq = _arrow()
        if self._writer is None or self._num_bytes >= _DATA_MB * 2**20:
            self.close()
            self._number, self._num_bytes = self._number + 1, 0
            path = self._root / _DATA.format(**_place(self._number))
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(path, table.schema)
        self._writer.write_table(table)
        self._num_bytes += table.nbytes
        return {f"data/{name}": value for name, value in _place(self._number).items()}

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def __enter__(self) -> _DataFiles:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _FilmFiles:
    """The frames of all episodes, one after the other, in films of bounded size."""

    def __init__(self, root: Path, rate: int) -> None:
        self._root, self._rate, self._film, self._number = root, rate, None, -1

    def add(self, frames: np.ndarray) -> dict[str, Any]:
        """Append the frames of an episode and return where they went."""
        _, height, width, _ = frames.shape
        if self._film is None or self._film.num_bytes >= _FILM_MB * 2**20:
            self.close()
            self._number += 1
            path = self._root / _FILM.format(video_key=_IMAGE, **_place(self._number))
            path.parent.mkdir(parents=True, exist_ok=True)
            self._film = FilmWriter(path, height, width, Fraction(self._rate), key_every=_KEY_EVERY, extra=_EXTRA)
        start = self._film.num_frames
        self._film.add(frames)
        spot = {"from_timestamp": start / self._rate, "to_timestamp": self._film.num_frames / self._rate}
        return {f"videos/{_IMAGE}/{name}": value for name, value in (_place(self._number) | spot).items()}

    def facts(self, height: int, width: int) -> dict[str, Any]:
        """Return what LeRobot writes of a film."""
        assert self._film is not None
        return {
            "video.height": height,
            "video.width": width,
            "video.codec": "h264",
            "video.pix_fmt": self._film.pixel_format,
            "video.is_depth_map": False,
            "video.fps": self._rate,
            "video.channels": 3,
            "has_audio": False,
        }

    def close(self) -> None:
        if self._film is not None:
            self._film.close()

    def __enter__(self) -> _FilmFiles:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _place(number: int) -> dict[str, int]:
    return dict(zip(("chunk_index", "file_index"), divmod(number, _FILES_PER_CHUNK), strict=True))


def _write_meta(
    path: Path,
    features: Mapping[str, Any],
    tasks: Mapping[str, int],
    episodes: Sequence[Mapping[str, Any]],
    stats: Mapping[str, Mapping[str, np.ndarray]],
    rate: int,
    as_films: bool,
) -> None:
    pa, pq = _arrow()
    info = {
        "codebase_version": "v3.0",
        "robot_type": None,
        "total_episodes": len(episodes),
        "total_frames": sum(row["length"] for row in episodes),
        "total_tasks": len(tasks),
        "chunks_size": _FILES_PER_CHUNK,
        "data_files_size_in_mb": _DATA_MB,
        "video_files_size_in_mb": _FILM_MB,
        "fps": rate,
        "splits": {"train": f"0:{len(episodes)}"},
        "data_path": _DATA,
        "video_path": _FILM if as_films else None,
        "features": features,
    }
    (path / _INFO).write_text(json.dumps(info, indent=4, ensure_ascii=False), encoding="utf-8")
    plain = {name: {key: value.tolist() for key, value in found.items()} for name, found in stats.items()}
    (path / _STATS).write_text(json.dumps(plain, indent=4), encoding="utf-8")
    index = "__index_level_0__"  # LeRobot finds tasks by the index of a pandas table
    table = pa.table({"task_index": list(tasks.values()), index: list(tasks)})
    kinds = {"task_index": ("int64", "int64"), index: ("unicode", "object")}
    described = [
        {"name": None if name == index else name, "field_name": name, "pandas_type": kind, "numpy_type": dtype,
         "metadata": None}
        for name, (kind, dtype) in kinds.items()
    ]  # fmt: skip
    pandas = {"index_columns": [index], "column_indexes": [], "columns": described, "pandas_version": "2.0.0"}
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(pandas)}), path / _TASKS)
    target = path / _EPISODES.format(**_place(0))
    target.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(list(episodes)), target)


def read(path: Path) -> Iterator[Item]:
    """Yield the episodes of a LeRobotDataset; of several cameras the first by name, tasks as captions.

    A foreign one lacks the last frame of every episode, so its last step is left out.

    Raises:
        StoreError: If it is of another version, has no camera or no actions, or is damaged.
    """
    with _readable(path):
        info = json.loads((path / _INFO).read_text(encoding="utf-8"))
        features = _check(path, info)
        image = min(name for name, feature in features.items() if feature["dtype"] in {"image", "video"})
        is_film = features[image]["dtype"] == "video"
        episodes = sorted(_episode_rows(path), key=lambda row: row["episode_index"])
        tasks, ours = _read_tasks(path), iter(_our_rows(path))
        wanted = ["action", "next.reward", *_ENDS, "episode_index", "task_index", *([] if is_film else [image])]
        files = dict.fromkeys(path / info["data_path"].format(**_spot(row, "data")) for row in episodes)
        tables = _tables(files, [name for name in wanted if name in features])
        for row, table in zip(episodes, tables, strict=True):
            obs = _film_frames(path, info, image, row) if is_film else _pictures(path, table[image])
            own = next(ours, None)
            facts, last = (json.loads(own["facts"]), own["last_frame"]) if own else ({}, None)
            if last is not None:
                obs = np.concatenate([obs, from_png(last)[None]])
            else:
                texts = [tasks[index] for index in table["task_index"].to_pylist()]
                starts = [t for t in range(len(texts) - 1) if t == 0 or texts[t] != texts[t - 1]]
                facts = {"control_dt": 1 / info["fps"], "captions": [[t, texts[t], texts[t]] for t in starts]}
            yield _episode(facts, obs, table, features["action"])


def _check(path: Path, info: Mapping[str, Any]) -> dict[str, Any]:
    version, features = info["codebase_version"], info["features"]
    if not version.startswith("v3."):
        raise StoreError(f"{path} is a LeRobotDataset of {version}; convert it to v3.0 with LeRobot's own script first")
    kinds = {feature["dtype"] for feature in features.values()}
    if "action" not in features or not kinds & {"image", "video"}:
        raise StoreError(f"{path} needs a camera and an action among its features; it has {', '.join(features)}")
    return features


def _episode(facts: Mapping[str, Any], obs: np.ndarray, table: Any, action: Mapping[str, Any]) -> Item:
    dtype, shape = facts.get("action", (action["dtype"], action["shape"]))
    num_steps = len(obs) - 1
    steps = {
        name: np.array(table[name].to_pylist())[:num_steps] for name in table.column_names if name.startswith("next.")
    }
    terminated = steps.get("next.terminated", np.zeros(num_steps, bool))
    is_cut = num_steps < len(table)  # the step that ended it is left out
    truncated = (np.arange(num_steps) == num_steps - 1) & ~terminated if is_cut else steps["next.truncated"]
    return build(
        facts,
        obs=obs,
        action=np.array(table["action"].to_pylist(), dtype).reshape(-1, *shape)[:num_steps],
        reward=steps.get("next.reward", np.zeros(num_steps, np.float32)),
        terminated=terminated,
        truncated=truncated,
    )


def _episode_rows(path: Path) -> list[dict[str, Any]]:
    _, pq = _arrow()
    rows = []
    for file in sorted((path / "meta/episodes").glob("*/*.parquet")):
        names = [name for name in pq.read_schema(file).names if not name.startswith("stats/")]
        rows += pq.read_table(file, columns=names).to_pylist()
    return rows


def _read_tasks(path: Path) -> dict[int, str]:
    _, pq = _arrow()
    table = pq.ParquetFile(path / _TASKS).read()
    (name,) = [name for name in table.column_names if name != "task_index"]
    return dict(zip(table["task_index"].to_pylist(), table[name].to_pylist(), strict=True))


def _our_rows(path: Path) -> Iterator[dict[str, Any]]:
    _, pq = _arrow()
    if (path / _OURS).exists():
        for batch in pq.ParquetFile(path / _OURS).iter_batches(_ROWS_AT_ONCE):
            yield from batch.to_pylist()


def _tables(files: Mapping[Path, Any], columns: Sequence[str]) -> Iterator[Any]:
    """Yield the rows of one episode after the other, holding no more than that."""
    pa, pq = _arrow()
    held, current = [], None
    for file in files:
        for batch in pq.ParquetFile(file).iter_batches(_ROWS_AT_ONCE, columns=list(columns)):
            index = batch["episode_index"].to_numpy()
            cuts = [0, *(np.flatnonzero(np.diff(index)) + 1).tolist(), len(index)]
            for start, end in pairwise(cuts):
                if held and index[start] != current:
                    yield pa.Table.from_batches(held)
                    held = []
                current = index[start]
                held.append(batch.slice(start, end - start))
    if held:
        yield pa.Table.from_batches(held)


def _film_frames(path: Path, info: Mapping[str, Any], key: str, row: Mapping[str, Any]) -> np.ndarray:
    film = path / info["video_path"].format(video_key=key, **_spot(row, f"videos/{key}"))
    start_s = row[f"videos/{key}/from_timestamp"]
    return read_film(film, start_s=start_s, num_frames=row["length"], rate=info["fps"], extra=_EXTRA)


def _film_decibels(store: RolloutStore, path: Path, episodes: Sequence[Mapping[str, Any]], rate: int) -> float:
    squared, count = 0.0, 0
    for i, row in enumerate(episodes):
        shown = _film_frames(path, {"video_path": _FILM, "fps": rate}, _IMAGE, row)
        error = shown.astype(np.float32) - store.episode(i).obs[:-1]
        squared, count = squared + float((error**2).sum(dtype=np.float64)), count + error.size
    return decibels(squared, count)


def _spot(row: Mapping[str, Any], prefix: str) -> dict[str, int]:
    return {name: row[f"{prefix}/{name}"] for name in ("chunk_index", "file_index")}


def _pictures(path: Path, column: Any) -> np.ndarray:
    pictures = [picture["bytes"] for picture in column.to_pylist()]
    if any(picture is None for picture in pictures):
        raise StoreError(f"{path} names files of pictures instead of holding them; only embedded pictures can be read")
    return np.stack([from_png(picture) for picture in pictures])


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    pa, _ = _arrow()
    try:
        yield
    except (pa.ArrowException, OSError, KeyError, json.JSONDecodeError) as error:
        reason = " ".join(str(error).split())
        raise StoreError(f"{path} is not a whole LeRobotDataset: {type(error).__name__}: {reason}") from None


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("pyarrow", _EXTRA, "read and write LeRobot datasets") from None
    return pyarrow, pyarrow.parquet
