"""A dataset of LLaMA-Factory in sharegpt form, as its ``dataset_info.json`` describes it.

Its names of columns and tags, where they are given, else those that LLaMA-Factory takes by default.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.images import PictureError, within
from pipeline.imports import SharegptImport, SourceError
from pipeline.sources.conversation import conversation
from pipeline.sources.ingest import Given
from pipeline.sources.tables import Bad, loaded, tables

INFO = "dataset_info.json"
COLUMNS = {"messages": "conversations", "images": "images"}
TAGS = {
    "role_tag": "from",
    "content_tag": "value",
    "user_tag": "human",
    "assistant_tag": "gpt",
    "observation_tag": "observation",
    "function_tag": "function_call",
    "system_tag": "system",
}


def rows(asked: SharegptImport) -> Iterator[Given | Bad]:
    if asked.root is None:
        raise SourceError(f"{asked.found} is no folder: name the one that holds {INFO}")
    told = _described(asked.root, asked.dataset)
    columns, tags = COLUMNS | _texts(told.get("columns")), TAGS | _texts(told.get("tags"))
    name = told.get("file_name")
    if not isinstance(name, str) or told.get("formatting", "alpaca") != "sharegpt":
        raise SourceError(
            f"{asked.root / INFO}: {asked.dataset} names no file in sharegpt formatting, and only "
            "that is read"
        )
    try:
        files = _files(asked.root, within(asked.root, name))
    except PictureError as error:
        raise SourceError(f"{asked.root / INFO}: {error.detail}: it must lie beside") from None
    needed = (columns["messages"], columns["images"])
    for found in tables(files, needed, needed):
        if isinstance(found, Bad):
            yield found
        else:
            messages, pictures = (found.row.get(name) for name in needed)
            yield conversation(found, messages, pictures, tags)


def _files(root: Path, file: Path) -> list[Path]:
    """A file, or those of a folder.

    Raises:
        PictureError: if one of them is a link that leads out.
    """
    if not file.is_dir():
        return [file]
    inside = file.relative_to(root.resolve())
    names = sorted(one.name for one in file.iterdir() if one.is_file())
    return [within(root, str(inside / name)) for name in names]


def _described(root: Path, name: str) -> Mapping[str, Any]:
    try:
        told = loaded((root / INFO).read_bytes())
    except (OSError, ValueError) as error:
        raise SourceError(f"{root / INFO} cannot be read: {str(error)[:80]}") from None
    if not isinstance(told, dict) or not isinstance(told.get(name), dict):
        known = ", ".join(map(repr, list(told)[:20])) if isinstance(told, dict) else "none"
        raise SourceError(f"{root / INFO} describes no dataset {name!r}; there are {known}")
    found: dict[str, Any] = told[name]
    return found


def _texts(given: Any) -> dict[str, str]:
    if not isinstance(given, dict):
        return {}
    return {key: value for key, value in given.items() if isinstance(value, str)}
