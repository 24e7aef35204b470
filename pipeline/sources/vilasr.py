"""ViLaSR's published files: problems for RL as JSON lines, and conversations for SFT.

A type of question that is neither a choice nor a number (free-form, for one) cannot be graded here,
and is refused. ``grid_size`` tells nothing that is needed.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.images import PictureError, within
from pipeline.imports import SourceError, VilasrImport
from pipeline.sources.conversation import conversation
from pipeline.sources.ingest import BadRow, Given
from pipeline.sources.tables import Bad, Found, tables
from pipeline.types import Modality

TYPES = {"multiple choice": "choice", "regression": "number", "numerical": "number"}
RL = ("question", "options", "answer", "image_path", "question_type")
SFT = ("conversations", "images")
TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
    "observation_tag": "user",
    "function_tag": "assistant",
}


def rows(asked: VilasrImport) -> Iterator[Given | Bad]:
    if asked.root is None:
        raise SourceError(f"{asked.found} is no folder: name the folder with files and pictures")
    for found in tables(_files(asked.root, asked.files), RL if asked.form == "rl" else SFT):
        if isinstance(found, Bad):
            yield found
        else:
            yield problem(found) if asked.form == "rl" else _spoken(found)


def _files(root: Path, names: Iterable[str]) -> Iterator[Path]:
    for name in names:
        try:
            yield within(root, name)
        except PictureError as error:
            raise SourceError(f"files: {error.detail}: it must lie in {root}") from None


def problem(found: Found) -> Given | Bad:
    """A row of a file for RL."""
    row = found.row
    asked, data = row.get("question_type"), row.get("data_type")
    kind = TYPES.get(asked) if isinstance(asked, str) else None
    if kind is None:
        return found.bad(BadRow.UNKNOWN_TYPE, f"{str(asked)[:80]!r}")
    return Given(
        number=found.number,
        place=found.place,
        question=row.get("question"),
        options=row.get("options") if kind == "choice" else None,
        answer=row.get("answer"),
        kind=kind,
        pictures=row.get("image_path"),
        modality=Modality.VIDEO if data == "video" else None,
    )


def _spoken(found: Found) -> Given | Bad:
    return conversation(found, found.row.get("conversations"), found.row.get("images"), TAGS)
