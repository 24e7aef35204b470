"""What may go from the store: addresses that no version file leads to, and what killed runs left."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from pyarrow import fs

from assets.graph import NODES, address
from pipeline.store import Store, StoreError
from pipeline.versions import load, names

ABANDONED = timedelta(hours=1)  # since the last write: a live writer is not taken for a dead one


def stale(store: Store) -> Iterator[tuple[str, int]]:
    """(folder, bytes) of everything that may go; what is damaged, too, so that it is built again.

    Raises:
        VersionError: if any version file cannot be read: what it leads to would be taken for stale.
    """
    versions = [load(name) for name in names()]
    for asset in NODES:
        led_to = {address(asset, version) for version in versions}
        for folder in _folders(store, f"{store.root}/{asset}"):
            name = folder.path.rsplit("/", 1)[-1]
            if name not in led_to or _damaged(store, asset, name):
                yield folder.path, _bytes(store, folder.path)
    for folder in _folders(store, f"{store.root}/tmp"):  # noqa: S108  our own
        if _abandoned(store, folder):
            yield folder.path, _bytes(store, folder.path)


def _damaged(store: Store, asset: str, name: str) -> bool:
    """Whether a part is missing or cut, or the manifest cannot be read."""
    try:
        return bool(store.incomplete(asset, name))
    except StoreError:
        return True


def _folders(store: Store, place: str) -> list[fs.FileInfo]:
    found = store.files.get_file_info(fs.FileSelector(place, allow_not_found=True))
    return [info for info in found if info.type == fs.FileType.Directory]


def _abandoned(store: Store, folder: fs.FileInfo) -> bool:
    inside = store.files.get_file_info(fs.FileSelector(folder.path, recursive=True))
    times = [info.mtime for info in (folder, *inside) if info.mtime is not None]
    return bool(times) and datetime.now(UTC) - max(times) > ABANDONED


def _bytes(store: Store, place: str) -> int:
    inside = store.files.get_file_info(fs.FileSelector(place, recursive=True))
    return sum(info.size or 0 for info in inside)
