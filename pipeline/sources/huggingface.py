"""Rows in the form of Hugging Face: a parquet or JSONL file, a folder of a dataset, or the hub's.

A file is read by us, so that a bad row is one row; a folder and the hub by `datasets`, as a stream,
with pictures left as they lie there: they are opened as any others.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pipeline.imports import HuggingFaceImport, SourceError, leading_out
from pipeline.sources.folder import given
from pipeline.sources.ingest import Given
from pipeline.sources.tables import Bad, Found, check, table


def rows(asked: HuggingFaceImport) -> Iterator[Given | Bad]:
    columns = asked.columns
    every: Iterator[Found | Bad] = (
        _streamed(asked)
        if asked.hub or asked.found.is_dir()
        else table(asked.found, columns.asked, columns.names)
    )
    for found in every:
        by_index = asked.answers == "index"
        yield found if isinstance(found, Bad) else given(found, columns, asked.kinds, by_index)


def _streamed(asked: HuggingFaceImport) -> Iterator[Found | Bad]:
    """The rows that `datasets` finds.

    Raises:
        SourceError: if it cannot load them, or a column is not there.
    """
    import datasets
    import pyarrow as pa

    where = asked.hub or str(asked.found)
    if asked.hub is None and (link := next(leading_out(asked.found), None)):
        raise SourceError(
            f"{link} leads out of {where}, and `datasets` would follow it: put there what it leads to"
        )
    # What a damaged or lying file makes of `datasets` is one of these.
    refused = (
        datasets.exceptions.DatasetsError, pa.ArrowException, OSError, ValueError, TypeError,
        KeyError, RuntimeError, OverflowError,
    )  # fmt: skip
    try:
        for number, row in enumerate(_opened(asked, where), 1):
            yield Found(number, f"{Path(where).name}/{asked.split}:{number}", _inside(row, asked))
    except SourceError:
        raise
    except StopIteration:  # no row tells what the columns are
        return
    except refused as error:
        said = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise SourceError(f"`datasets` cannot load {where}: {said}") from error


def _opened(asked: HuggingFaceImport, where: str) -> Iterable[dict[str, Any]]:
    import datasets

    if asked.hub is None and (asked.found / "state.json").is_file():
        data = datasets.load_from_disk(where)
    elif asked.hub is None and _splits_of_disk(asked.found):
        data = datasets.load_from_disk(where)[asked.split]
    else:
        data = datasets.load_dataset(
            where, asked.subset, split=asked.split, streaming=True, revision=asked.revision
        )
    columns = asked.columns
    if data.features is None:
        data = datasets.concatenate_datasets([data])  # which looks at the first rows for them
    check(where, columns.asked, data.features)
    data = data.select_columns([name for name in columns.names if name in data.features])
    for name, feature in data.features.items():
        if _is_media(feature):
            data = data.cast_column(name, _closed(feature))
    return data  # type: ignore[no-any-return]


def _splits_of_disk(folder: Path) -> bool:
    return (folder / "dataset_dict.json").is_file()


def _is_media(feature: Any) -> bool:
    import datasets

    inner = getattr(feature, "feature", feature)
    return isinstance(inner, datasets.Image | datasets.Video)


def _closed(feature: Any) -> Any:
    """The same feature, but its pictures are bytes and paths."""
    import datasets

    if hasattr(feature, "feature"):
        return datasets.List(_closed(feature.feature))
    return type(feature)(decode=False)


def _inside(row: dict[str, Any], asked: HuggingFaceImport) -> dict[str, Any]:
    """Paths that `datasets` has made absolute, from the folder on."""
    if asked.root is None:
        return row
    return {name: _relative(cell, str(asked.root.resolve()) + os.sep) for name, cell in row.items()}


def _relative(cell: Any, root: str) -> Any:
    if isinstance(cell, list):
        return [_relative(one, root) for one in cell]
    path = cell.get("path") if isinstance(cell, dict) and not cell.get("bytes") else None
    return {"path": path.removeprefix(root)} if isinstance(path, str) else cell
