"""What may go from the store: addresses that no version file leads to, and what runs left.

Runs of trainers on an object store lie in a cache of each machine, and are not looked at.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from pyarrow import fs

from assets.graph import NODES, address
from assets.models import RUNS, TRAINED
from pipeline.store import Store, StoreError
from pipeline.versions import load, names

ABANDONED = timedelta(hours=1)  # since the last write: a live writer is not taken for a dead one


def stale(store: Store) -> Iterator[tuple[str, int]]:
    """(folder, bytes) of everything that may go; what is damaged, too, so that it is built again.

    Raises:
        VersionError: if any version file cannot be read: what it leads to would be taken for stale.
        StoreError: if the tiny base of a version is not there, for the same reason.
    """
    versions = [load(name) for name in names()]
    for asset in NODES:
        led_to = {address(asset, version) for version in versions}
        for folder in _folders(store, f"{store.root}/{asset}"):
            name = folder.path.rsplit("/", 1)[-1]
            if name not in led_to or _damaged(store, asset, name):
                yield folder.path, _bytes(store, folder.path)
    led_to = {f"{asset}-{address(asset, version)}" for asset in TRAINED for version in versions}
    for folder in _folders(store, f"{store.root}/{RUNS}"):
        name = folder.path.rsplit("/", 1)[-1]
        if _published(store, name) or (name not in led_to and _abandoned(store, folder)):
            yield folder.path, _bytes(store, folder.path)
    for folder in _folders(store, f"{store.root}/tmp"):  # noqa: S108  our own
        if _abandoned(store, folder):
            yield folder.path, _bytes(store, folder.path)


def _published(store: Store, run: str) -> bool:
    """Whether what a trainer made is in the store, whole: its run is of no more use."""
    asset, _, name = run.rpartition("-")
    if asset not in TRAINED or _damaged(store, asset, name):
        return False
    return store.manifest(asset, name) is not None


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
