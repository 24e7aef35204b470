"""Version files: where they lie, what they are called, and the YAML in them, read strictly."""

import os
import re
from pathlib import Path
from typing import Any

import yaml

from pipeline.fields import VersionError

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def folder() -> Path:
    """Where version files lie: ``$DRAWLOOP_VERSIONS``, else versions/ beside the packages."""
    given = os.environ.get("DRAWLOOP_VERSIONS")
    return Path(given) if given else Path(__file__).parent.parent / "versions"


def names() -> list[str]:
    """The names of all version files, sorted."""
    found = folder().glob("*.yaml")
    return sorted(p.stem for p in found if p.is_file() and NAME.fullmatch(p.stem))


def decisions_of(name: str) -> Path:
    """Where a version's decisions by hand lie, if there are any."""
    return folder() / f"{name}.decisions.jsonl"


def mapping(where: str, text: str) -> dict[Any, Any]:
    """What the text of a version file says; ``where`` is how messages call the file.

    Raises:
        VersionError: if it is no YAML, gives a key twice, or is no mapping.
    """
    try:
        content = yaml.load(text, Loader=_OneOfEach)  # noqa: S506  a SafeLoader
    except (yaml.YAMLError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise VersionError(f"{where}: not YAML: {error}") from None
    if not isinstance(content, dict):
        raise VersionError(f"{where}: a mapping is needed, this is {_yaml_name(content)}")
    return content


def _yaml_name(value: Any) -> str:
    kinds = {
        list: "a list",
        str: "a text",
        bool: "true or false",
        type(None): "nothing",
    }
    return kinds.get(type(value), "a number")


class _OneOfEach(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice, instead of forgetting the first.

    ``1e-5`` is a number, as in YAML 1.2.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: list[Any] = []
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.YAMLError(f"key {key!r} twice, line {key_node.start_mark.line + 1}")
            seen.append(key)
        return super().construct_mapping(node, deep)


_OneOfEach.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+[eE][-+]?\d+$"), list("-+0123456789")
)
