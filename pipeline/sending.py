"""Pictures on their way to a server: as data URLs, or as files that the server reads.

Guarantees: a picture is drawn when a turn is due, off the event loop, and freed after; what was
drawn lately is not drawn again; a file is named by what it shows, written once and atomically, and
not drawn where it lies already.
Does not: delete files, or send anything.
"""

import asyncio
import base64
import os
from collections import OrderedDict
from pathlib import Path
from threading import get_ident

from pipeline import canvas, images
from pipeline.types import Problem, State, View

KEPT_BYTES = 64 * 2**20  # of URLs of pictures sent lately


class Pictures:
    """Pictures as URLs, in one encoding.

    Args:
        encoding: ``png`` or ``webp``, both lossless, or ``jpeg`` of a ``quality``.
        folder: where files go; None: data URLs.
    """

    def __init__(self, encoding: str, quality: int | None, folder: str | None) -> None:
        self.encoding, self.quality = encoding, quality
        self.folder = Path(folder).absolute() if folder else None
        self._kept: OrderedDict[str, str] = OrderedDict()
        self._bytes = 0

    async def urls(self, state: State) -> list[str]:
        """One for each view of a state, in their order.

        Raises:
            OSError: if a file cannot be written.
        """
        names = [canvas.identity(state.problem, view) for view in state.views]
        found = {name: self._kept[name] for name in names if name in self._kept}
        missing = {
            name: view for name, view in zip(names, state.views, strict=True) if name not in found
        }
        if missing:
            made = await asyncio.to_thread(self._made, state.problem, missing)
            found |= made
            for name, url in made.items():
                self._keep(name, url)
        return [found[name] for name in names]

    def _made(self, problem: Problem, missing: dict[str, View]) -> dict[str, str]:
        make = self._data if self.folder is None else self._file
        return {name: make(problem, name, view) for name, view in missing.items()}

    def _data(self, problem: Problem, name: str, view: View) -> str:
        said = base64.b64encode(self._encoded(problem, view)).decode("ascii")
        return f"data:image/{self.encoding};base64,{said}"

    def _file(self, problem: Problem, name: str, view: View) -> str:
        assert self.folder is not None
        quality = "" if self.quality is None else f"-{self.quality}"
        path = self.folder / name[:2] / f"{name}{quality}.{self.encoding}"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            coming = path.with_name(f"{path.name}.{os.getpid()}-{get_ident()}")
            coming.write_bytes(self._encoded(problem, view))
            coming.replace(path)
        return path.as_uri()

    def _encoded(self, problem: Problem, view: View) -> bytes:
        if self.encoding == "png":
            return canvas.picture(problem, view).png
        return images.sent(canvas.pixels(problem, view), self.encoding, self.quality)

    def _keep(self, name: str, url: str) -> None:
        if name not in self._kept:
            self._kept[name] = url
            self._bytes += len(url)
        while self._bytes > KEPT_BYTES:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest)
