"""A run's configuration from the command line: flags, or one JSON file with the same names."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from trainers.checkpoint import TrainingError

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


def check(config: Any, least: Mapping[str, int]) -> None:
    """Refuses a configuration in which one of the fields is less than it can be.

    Raises:
        TrainingError: naming the field, its value, and what is allowed.
    """
    for name, allowed in least.items():
        if (value := getattr(config, name)) < allowed:
            raise TrainingError(f"{name} is {value}; it must be {allowed} or more")
