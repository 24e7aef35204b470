"""A run's configuration from the command line: flags, or one JSON file with the same names."""

import sys
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def configure(config: type[T], arguments: Sequence[str] | None = None) -> T:
    """The configuration that the arguments (by default the process's own) give.

    Exits with what is allowed, as `argparse` does, if they are wrong.
    """
    from transformers import HfArgumentParser

    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = HfArgumentParser(config)
    if len(given) == 1 and given[0].endswith(".json"):
        try:
            return parser.parse_json_file(given[0])[0]  # type: ignore[no-any-return]
        except (OSError, ValueError, TypeError) as error:  # not there, no JSON, or other names
            parser.error(f"{given[0]}: {error}")
    return parser.parse_args_into_dataclasses(given)[0]  # type: ignore[no-any-return]
