"""A store in an object store (S3 and what speaks its protocol, Google Cloud, Azure), through obstore.

Commits are made by a conditional put (``If-None-Match: *``), shards are written as multipart uploads and read by
ranges. What was not completed does not exist; incomplete uploads cost storage until a rule of the bucket ends them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from worldsim.errors import MissingExtraError, StoreError
from worldsim.store.place import Sink, UnconfirmedError

__all__ = ["Bucket"]

_PART_BYTES = 8 << 20  # of a multipart upload; S3 takes at most 10,000 parts and none below 5 MB but the last


class Bucket:
    """A prefix of an object store, for example ``s3://bucket/rollouts``.

    Args:
        url: The address.
        storage_options: What obstore's ``from_url`` takes, for example ``region``, ``access_key_id``, ``endpoint``;
            environment variables such as ``AWS_ACCESS_KEY_ID`` are read too.

    Raises:
        StoreError: If the address or an option is not understood.
        MissingExtraError: If obstore is not installed.
    """

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        try:
            import obstore
            from obstore.exceptions import AlreadyExistsError, BaseError
            from obstore.store import from_url
        except ImportError:
            raise MissingExtraError("obstore", "s3", "keep rollouts in an object store") from None
        self.url = url.rstrip("/")
        self._options = dict(storage_options or {})
        self._obstore, self._taken, self._refused = obstore, AlreadyExistsError, (BaseError, OSError, RuntimeError)
        try:
            self._store: Any = from_url(self.url, **self._options)
        except (BaseError, TypeError, ValueError) as error:
            raise StoreError(f"cannot open {url}: {_first_line(error)}; check address and storage_options") from None

    def at(self, name: str) -> str:
        """Return the address of a name."""
        return f"{self.url}/{name}"

    def read(self, name: str) -> bytes:
        """Return the bytes of an object."""
        with self._reading(name):
            return bytes(self._obstore.get(self._store, name).bytes())

    def exists(self, name: str) -> bool:
        """Return whether there is an object of that name."""
        try:
            with self._reading(name):
                self._obstore.head(self._store, name)
        except FileNotFoundError:
            return False
        return True

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the size of every object below a prefix, by one listing."""
        return {entry["path"].removeprefix(f"{folder}/"): entry["size"] for entry in self._list(folder)}

    def children(self, folder: str) -> list[str]:
        """Return the names directly below a prefix."""
        with self._reading(folder):
            listed = self._obstore.list_with_delimiter(self._store, folder or None)
        paths = [*listed["common_prefixes"], *(entry["path"] for entry in listed["objects"])]
        return sorted(path.rstrip("/").rsplit("/", 1)[-1] for path in paths)

    def last_write(self, name: str) -> float:
        """Return when the newest object of that name or below was written, by the server's clock."""
        entries = self._list(name)
        if not entries:
            with self._reading(name):
                entries = [self._obstore.head(self._store, name)]
        return max(entry["last_modified"].timestamp() for entry in entries)

    def create(self, name: str, data: bytes) -> bool:
        """Put an object if there is none of that name.

        Raises:
            UnconfirmedError: If the server did not say whether it did.
        """
        try:
            self._obstore.put(self._store, name, data, mode="create", use_multipart=False)
        except self._taken:
            return False
        except self._refused as error:
            raise UnconfirmedError(
                f"cannot write {self.at(name)}: {_first_line(error)}; it may be there all the same: look before a retry"
            ) from None
        return True

    def replace(self, name: str, data: bytes) -> None:
        """Put an object over another."""
        with self.errors():
            self._obstore.put(self._store, name, data, use_multipart=False)

    def make(self, folder: str) -> None:
        """Do nothing: prefixes need no making."""

    def sink(self, name: str) -> Sink:
        """Return a multipart upload."""
        return _Upload(self._obstore.open_writer(self._store, name, buffer_size=_PART_BYTES, max_concurrency=2))

    def seal(self, *folders: str) -> None:
        """Do nothing: an object is durable once it is put."""

    def blob(self, name: str) -> _RemoteObject:
        """Open an object for reading by ranges."""
        return _RemoteObject(self, name)

    def remove(self, name: str) -> None:
        """Remove an object, or all below a prefix."""
        paths = [entry["path"] for entry in self._list(name)] or [name]
        with self.errors():
            self._obstore.delete(self._store, paths)

    def spill(self, folder: str) -> IO[bytes]:
        """Return a temporary file on the local disk."""
        return tempfile.TemporaryFile()

    def zarr_store(self, name: str) -> Any:
        """Return zarr's view of a prefix."""
        from obstore.store import from_url
        from zarr.storage import ObjectStore

        return ObjectStore(from_url(self.at(name), **self._options), read_only=True)

    def reopen(self) -> tuple[str, Mapping[str, Any]]:
        """Return address and options."""
        return self.url, self._options

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn what the server refuses into a StoreError that says what to do."""
        try:
            yield
        except self._refused as error:
            raise StoreError(
                f"cannot write to {self.url}: {_first_line(error)}; what was committed before is safe"
            ) from None

    def get_ranges(self, name: str, spans: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """Return the bytes of each (offset, length); neighbours come by one request."""
        starts, lengths = [span[0] for span in spans], [span[1] for span in spans]
        with self._reading(name):
            parts = self._obstore.get_ranges(self._store, name, starts=starts, lengths=lengths)
        return [np.frombuffer(part, np.uint8) for part in parts]

    def get_tail(self, name: str, length: int) -> np.ndarray:
        """Return the last bytes of an object."""
        with self._reading(name):
            got = self._obstore.get(self._store, name, options={"range": {"suffix": length}})
            return np.frombuffer(got.bytes(), np.uint8)

    def _list(self, prefix: str) -> list[Any]:
        with self._reading(prefix):
            return [entry for batch in self._obstore.list(self._store, f"{prefix}/") for entry in batch]

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except self._refused as error:
            raise StoreError(
                f"cannot read {self.at(name)}: {_first_line(error)}; check address, options and network; "
                "a forked process cannot use a store in an object store: spawn it"
            ) from None


class _Upload:
    """A multipart upload, or a single put if it stays small; the object exists once it is closed."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self.write, self.close = writer.write, writer.close

    def abandon(self) -> None:
        """Let go of it without completing it."""
        del self.write, self.close, self._writer


class _RemoteObject:
    is_mapped = False

    def __init__(self, bucket: Bucket, name: str) -> None:
        self._bucket, self._name = bucket, name

    def ranges(self, spans: Sequence[Sequence[int]], drop: int = 0) -> list[np.ndarray]:
        """Fetch each range."""
        return self._bucket.get_ranges(self._name, [(offset, length - drop) for offset, length in spans])

    def tail(self, length: int) -> np.ndarray:
        """Fetch the end."""
        return self._bucket.get_tail(self._name, length)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
