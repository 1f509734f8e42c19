"""Where a store lies: a directory, or a prefix of an object store. The rest of the room does not know which.

Both are names with bytes behind them, and both can do the one thing that a store needs of them: create a name with all
its bytes, or find that somebody else has. A directory does it with a hard link, an object store with a conditional
put. Nothing is locked, renamed or written twice.
"""

from __future__ import annotations

import errno
import mmap
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from worldsim.errors import StoreError

__all__ = ["Blob", "Folder", "Place", "Sink", "UnconfirmedError", "open_place"]


class UnconfirmedError(StoreError):
    """A place did not answer whether it created a name: the name may be there, or appear later."""


class Sink(Protocol):
    """A new file that is written from front to back."""

    def write(self, data: bytes, /) -> Any:
        """Append bytes."""
        ...

    def close(self) -> None:
        """Make the file durable."""
        ...

    def abandon(self) -> None:
        """Stop writing; what is there so far may be anything."""
        ...


class Blob(Protocol):
    """A file that is read in pieces."""

    is_mapped: bool
    """Whether the same bytes come from the same memory each time."""

    def ranges(self, spans: Sequence[Sequence[int]], drop: int = 0) -> Sequence[np.ndarray]:
        """Return the bytes of each (offset, length), without the last ``drop``."""
        ...

    def tail(self, length: int) -> np.ndarray:
        """Return the last bytes, fewer if the file is shorter."""
        ...


class Place(Protocol):
    """A directory or a prefix; names in it are relative, with ``/`` between their parts."""

    def at(self, name: str) -> Path | str:
        """Return the path or address of a name, for messages and other readers."""
        ...

    def read(self, name: str) -> bytes:
        """Return the bytes of a file; raises FileNotFoundError."""
        ...

    def exists(self, name: str) -> bool:
        """Return whether there is a file of that name."""
        ...

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the size of every file below a folder, by name relative to it."""
        ...

    def children(self, folder: str) -> list[str]:
        """Return the names directly in a folder, sorted; empty if there is no such folder."""
        ...

    def last_write(self, name: str) -> float:
        """Return when a file, or the newest one below a folder, was written, in seconds since 1970."""
        ...

    def create(self, name: str, data: bytes) -> bool:
        """Create a file with all its bytes at once, or not at all; returns False if the name is taken.

        A retry inside may find the name taken by its own first try, and say False.

        Raises:
            UnconfirmedError: If the file may have been created.
            StoreError: If it was not.
        """
        ...

    def replace(self, name: str, data: bytes) -> None:
        """Put a file in place of a damaged or missing one."""
        ...

    def make(self, folder: str) -> None:
        """Make a folder ready for new files."""
        ...

    def sink(self, name: str) -> Sink:
        """Return a new file to write to."""
        ...

    def seal(self, *folders: str) -> None:
        """Make the names in folders durable."""
        ...

    def blob(self, name: str) -> Blob:
        """Open a file for reading in pieces; raises FileNotFoundError."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file, or a folder and all below it."""
        ...

    def spill(self, folder: str) -> IO[bytes]:
        """Return a temporary file without a name, where a segment of this folder would be written."""
        ...

    def zarr_store(self, name: str) -> Any:
        """Return what zarr-python opens the array or group of that name from."""
        ...

    def reopen(self) -> tuple[str | Path, Mapping[str, Any] | None]:
        """Return the arguments of ``open_place`` that lead here again."""
        ...

    def errors(self) -> Any:
        """Return a context that turns what the place refuses into a StoreError."""
        ...


def open_place(path: str | Path, storage_options: Mapping[str, Any] | None = None) -> Place:
    """Return the place that a path or an address such as ``s3://bucket/prefix`` names.

    Args:
        path: A directory, or an address with ``://``.
        storage_options: For an address, what obstore's ``from_url`` takes: keys, region, endpoint.

    Raises:
        StoreError: If options were given for a directory, or the address is not understood.
        MissingExtraError: If obstore is not installed.
    """
    if isinstance(path, str) and "://" in path:
        from worldsim.store.bucket import Bucket

        return Bucket(path, storage_options)
    if re.match(r"[a-z][a-z0-9+.-]+:/", str(path)):  # "s3://bucket" as a path has lost a stroke
        raise StoreError(f"{path} is an address, and a directory is expected; in Python open it as a text with ://")
    if storage_options:
        raise StoreError(f"storage_options are for addresses such as s3://bucket/prefix; {path} is a directory")
    return Folder(Path(path))


class Folder:
    """A directory on a file system with hard links."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def at(self, name: str) -> Path:
        """Return the path of a name."""
        return self._root / name

    def read(self, name: str) -> bytes:
        """Return the bytes of a file."""
        return self.at(name).read_bytes()

    def exists(self, name: str) -> bool:
        """Return whether there is a file of that name."""
        return self.at(name).is_file()

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the size of every file below a folder."""
        root = self.at(folder)
        files = (path for path in sorted(root.rglob("*")) if path.is_file())
        return {path.relative_to(root).as_posix(): path.stat().st_size for path in files}

    def children(self, folder: str) -> list[str]:
        """Return the names directly in a folder."""
        path = self.at(folder)
        return sorted(os.listdir(path)) if path.is_dir() else []

    def last_write(self, name: str) -> float:
        """Return when a file, or the newest one below a folder, was written."""
        path = self.at(name)
        return max(file.stat().st_mtime for file in [path, *path.rglob("*")])

    def create(self, name: str, data: bytes) -> bool:
        """Create a file by linking its name to a finished temporary one.

        Raises:
            StoreError: If the file system cannot do that.
        """
        path = self.at(name)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                raise StoreError(
                    f"{self._root} cannot hold a store: its file system has no hard links ({error.strerror}), without "
                    "which two writers could take one number; use a local disk, or an address such as s3://bucket/prefix"
                ) from None
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}; make room, or choose another place") from None
        finally:
            temporary.unlink(missing_ok=True)
        self.seal(str(path.parent.relative_to(self._root)))
        return True

    def replace(self, name: str, data: bytes) -> None:
        """Put a file in place of another, which is kept under a name with a dot until gc."""
        path = self.at(name)
        if path.exists():
            path.rename(path.with_name(f".damaged.{path.name}"))
        self.create(name, data)

    def make(self, folder: str) -> None:
        """Make a folder and those above it."""
        self.at(folder).mkdir(parents=True, exist_ok=True)

    def sink(self, name: str) -> Sink:
        """Return a new file, in a new folder if need be."""
        path = self.at(name)
        path.parent.mkdir(exist_ok=True)
        return _DurableFile(path)

    def seal(self, *folders: str) -> None:
        """Sync folders."""
        for folder in folders:
            descriptor = os.open(self.at(folder), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def blob(self, name: str) -> _MappedFile:
        """Map a file."""
        return _MappedFile(self.at(name))

    def remove(self, name: str) -> None:
        """Remove a file or a folder; a folder goes in one step, so that nobody meets half of it."""
        path = self.at(name)
        if path.is_dir():
            hidden = path if path.name.startswith(".") else path.rename(path.with_name(f".{path.name}"))
            shutil.rmtree(hidden)
        else:
            path.unlink(missing_ok=True)

    def spill(self, folder: str) -> IO[bytes]:
        """Return a temporary file on the disk of the store."""
        return tempfile.TemporaryFile(dir=self.at(folder))

    def zarr_store(self, name: str) -> str:
        """Return the path."""
        return str(self.at(name))

    def reopen(self) -> tuple[Path, None]:
        """Return the directory."""
        return self._root, None

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn what the disk refuses into a StoreError that says what to do."""
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"cannot write to {self._root}: {error.strerror}; what was committed before is safe: make room, go on"
            ) from None


_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}


class _DurableFile:
    def __init__(self, path: Path) -> None:
        self._file = open(path, "xb")  # noqa: SIM115
        self.write = self._file.write

    def close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def abandon(self) -> None:
        with suppress(OSError):  # what is still buffered may not fit the disk either
            self._file.close()


class _MappedFile:
    """A file in memory as the system sees fit; no memory of the process's own, and shared by all processes."""

    is_mapped = True

    def __init__(self, path: Path) -> None:
        with open(path, "rb") as file:
            self._bytes = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)

    def ranges(self, spans: Sequence[Sequence[int]], drop: int = 0) -> list[np.ndarray]:
        """Return views of the map."""
        data = self._bytes
        return [data[offset : offset + length - drop] for offset, length in spans]

    def tail(self, length: int) -> np.ndarray:
        """Return a view of the end."""
        return self._bytes[-length:]
