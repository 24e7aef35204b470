"""The card of an export, in Hugging Face's form: a folder with it can be pushed as it is.

The YAML at its top tells `datasets` which files hold the rows and what the columns are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import yaml

from pipeline.exporters import Format
from pipeline.exporters.origins import OURS, Origin
from pipeline.rows import PICTURE

if TYPE_CHECKING:
    from pipeline.exporters.export import Given

SIZES = ((1000, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"))
ABOUT = {
    "skills": "drawing skills: one- and two-turn trajectories from exact operations",
    "cold": "the cold-start set: a teacher's trajectories that are solved and well-formed",
    "reflective": "the reflective set: solved trajectories in which a drawing was corrected",
    "rl": "problems for RL that a model solves sometimes: neither never nor always",
}
DTYPES = {"double": "float64", "float": "float32"}


class Yield(NamedTuple):
    """What an asset kept, and dropped by reason."""

    asset: str
    kept: int
    dropped: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Story:
    """How a set came to be: its version, the stages with their yields, and all that decided them."""

    version: str
    description: str
    family: str  # that its pictures were fitted to
    writer: str  # whose texts they are; "" for problems
    stages: Sequence[Yield]
    versions: Mapping[str, str]  # of drawloop, its schema, its protocol, its renderer
    recipe: Mapping[str, Any]  # asset → what decided it
    origins: Sequence[Origin]


def card(
    chosen: Format, given: "Given", report: Mapping[str, Any], story: Story, data_files: str
) -> str:
    """The README.md of an export."""
    schema = given.schema if chosen.schema is None else chosen.schema
    head = yaml.safe_dump(
        _front(chosen, given.set, schema, report["written"], story, data_files),
        sort_keys=False,
        allow_unicode=True,
        width=120,
    )
    told = _told(chosen, given.set, report, story)
    return f"---\n{head}---\n\n" + "\n\n".join(told) + "\n"


def _front(
    chosen: Format, set_: str, schema: pa.Schema, rows: int, story: Story, data_files: str
) -> dict[str, Any]:
    ours = all(origin.licence == OURS for origin in story.origins)
    licence = (
        {"license": OURS.lower()}
        if ours
        else {"license": "other", "license_name": "mixed", "license_link": "#sources-and-licences"}
    )
    return {
        **licence,
        "pretty_name": f"drawloop {story.version}: {set_}",
        "size_categories": [size_category(rows)],
        "task_categories": ["visual-question-answering", "image-text-to-text"],
        "language": ["en"],
        "tags": ["drawloop", "visual-reasoning", "thinking-by-drawing", set_, chosen.container],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": "train", "path": data_files}],
            }
        ],
        "dataset_info": {"features": features(schema)},
    }


def size_category(rows: int) -> str:
    """The hub's word for a number of rows."""
    return next((name for limit, name in SIZES if rows < limit), "n>1M")


def features(schema: pa.Schema) -> list[dict[str, Any]]:
    """The columns in the words of a card; embedded pictures are pictures."""
    return [{"name": field.name, **_feature(field.type)} for field in schema]


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if _is_picture(kind):
        return {"dtype": "image"}
    if pa.types.is_list(kind):
        inner = _feature(kind.value_type)
        return {"list": inner["dtype"] if [*inner] == ["dtype"] else inner.get("struct", inner)}
    if pa.types.is_struct(kind):
        return {"struct": [{"name": field.name, **_feature(field.type)} for field in kind]}
    return {"dtype": DTYPES.get(str(kind), str(kind))}


def _is_picture(kind: pa.DataType) -> bool:
    if not pa.types.is_struct(kind):
        return False
    known = {field.name for field in PICTURE}
    names = {field.name for field in kind}
    return "bytes" in names and names <= known


def _told(chosen: Format, set_: str, report: Mapping[str, Any], story: Story) -> list[str]:
    dropped = ", ".join(f"{why} {count}" for why, count in report["omitted"].items()) or "none"
    family = report["family"] or story.family
    counts = [
        ("rows written", report["written"]),
        ("rows read", report["read"]),
        ("omitted, by reason", dropped),
        ("pictures, and places for them", f"{report['pictures']}, {report['placeholders']}"),
    ]
    if chosen.row is not None:
        counts += [
            ("tokens of the longest row", f"{report['longest']} (by {report['counted_by']})"),
            ("tokens of all rows", report["tokens"]),
            ("most tokens that were let pass", report["max_tokens"] or "no limit"),
            ("texts and coordinates for", family),
        ]
    return [
        f"# drawloop {story.version}: {set_}, for {chosen.framework}",
        f"{story.description.strip()}\n\nThese rows are {ABOUT[set_]}.",
        f"## How to load it\n\n{chosen.use.strip()}",
        f"## Counts\n\n{_table(('', ''), counts)}",
        "## How it was made\n\nThe recipe is ViLaSR's ([arXiv 2506.09965]"
        "(https://arxiv.org/abs/2506.09965)). Each stage kept rows or dropped them with a reason:\n\n"
        + _table(("stage", "kept", "dropped, by reason"), map(_stage, story.stages)),
        _writer(story),
        "Versions: " + ", ".join(f"{name} {said}" for name, said in story.versions.items()) + ".",
        "All that decided the rows, stage by stage:\n\n```yaml\n"
        + yaml.safe_dump(dict(story.recipe), sort_keys=False, allow_unicode=True, width=120)
        + "```",
        "## Sources and licences\n\n"
        + _table(("what", "origin", "licence"), story.origins)
        + "\n\nQuestions, annotations and the texts of oracles were made by drawloop (Apache-2.0).",
        f"## Limits\n\n{_limits(chosen, report, story)}",
    ]


def _stage(stage: Yield) -> tuple[str, int, str]:
    dropped = ", ".join(f"{why} {count}" for why, count in stage.dropped.items())
    return stage.asset, stage.kept, dropped or "none"


def _writer(story: Story) -> str:
    return f"The trajectories were written by {story.writer}." if story.writer else ""


def _limits(chosen: Format, report: Mapping[str, Any], story: Story) -> str:
    limits = [
        f"Pictures were resized once, to the grid of {story.family}; the largest has "
        f"{report['largest']} px. A loader that resizes them again moves every pixel coordinate.",
        "Questions, labels and thoughts are English; those of synthetic tasks come from templates.",
        "Scenes of synthetic tasks are drawings: what is learnt on them need not hold on photographs.",
    ]
    if report["counted_by"] == "estimate" and chosen.row is not None:
        limits.append("Lengths are estimates: no processor was at hand when the rows were written.")
    if report["resized"]:
        limits.append(
            f"The target's processor resizes {report['resized']} pictures to its own grid; "
            "coordinates are relative, and stay right."
        )
    return "\n".join(f"- {limit}" for limit in limits)


def _table(head: Sequence[Any], lines: Any) -> str:
    shown = [head, *lines]
    first, *rest = (f"| {' | '.join(map(_cell, line))} |" for line in shown)
    return "\n".join([first, "|" + "---|" * len(head), *rest])


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
