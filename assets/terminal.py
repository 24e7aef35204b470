"""What every command does with a terminal: errors in one line, tables, sizes."""

import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import click

from pipeline.gallery import GalleryError
from pipeline.store import StoreError
from pipeline.teachers import NoBackend
from pipeline.versions import VersionError

as_json = click.option("--json", "as_json", is_flag=True, help="For a script.")


def plain_errors(command: Callable[..., None]) -> Callable[..., None]:
    """What a user can mend is one line and exit code 2; our own faults keep their traceback."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        from assets.backfill import BackfillError
        from pipeline.crew import CrewError
        from pipeline.exporters.files import ExportError
        from pipeline.exporters.told import FamilyMismatch
        from pipeline.external import ExternalError
        from pipeline.failing import TooManyFailures
        from pipeline.models import GridMismatch
        from pipeline.problems import NotEnough
        from pipeline.skills import GoldError

        refused = (
            VersionError,
            StoreError,
            NoBackend,
            NotEnough,
            GoldError,
            ExternalError,
            ExportError,
            FamilyMismatch,
            GridMismatch,
            TooManyFailures,
            CrewError,
            GalleryError,
            BackfillError,
            OSError,
        )
        try:
            command(*args, **kwargs)
        except refused as error:
            click.echo(f"drawloop: {error}", err=True)
            sys.exit(2)

    return wrapped


def size(count: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def table(head: tuple[str, ...], body: Sequence[tuple[str, ...]]) -> None:
    """Columns as wide as their widest cell; numbers to the right."""
    widths = [max(len(row[n]) for row in (head, *body)) for n in range(len(head))]
    for row in (head, tuple("-" * width for width in widths), *body):
        cells = [
            cell.rjust(width) if cell.lstrip("+−")[:1].isdigit() else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())
