"""The arms: the version `ladder` with a few fields changed, and the model that is looked at.

Arms that agree up to a stage share its data and models, because addresses do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.versions import Version

VERSION = "ladder"
EVERY, ONE = (0, 1, 2), (0,)  # repetitions


@dataclass(frozen=True, slots=True)
class Arm:
    """One model of one derived version.

    Args:
        changes: fields of the version file, by their path with points. An arm with another canvas
            is asked other problems: it is compared with its like only.
        sized: keeps as many reflective trajectories as the recipe's own filter keeps.
        wide: pass@8 is measured, too.
    """

    name: str
    seat: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    repetitions: tuple[int, ...] = EVERY
    sized: bool = False
    wide: bool = False


START, DATA = "reflective_model.policy.start", "reflective_model.policy.data"
RULE, GRPO_START = "filters.reflective.rule", "grpo_model.start"
# In words alone there is nothing to reflect on: what is solved is learnt again.
TEXT = {
    "teacher.policy.draws": False,
    "filters.cold.min_turns": 1,
    "cold_model.policy.data": ["cold"],
    RULE: "none",
}

OTHER = {"family": "qwen3-vl", "canvas": {"smallest": 128, "largest": 128}}  # of whole patches

ARMS = (
    Arm("base", "base_model", repetitions=ONE, wide=True),
    Arm("cold", "cold_model", wide=True),
    Arm("cold + reflective", "reflective_model", wide=True),
    Arm("cold + reflective + GRPO", "grpo_model", wide=True),
    Arm("cold + GRPO", "grpo_model", {GRPO_START: "cold_model"}, wide=True),
    Arm("cold + rejection-sampled, same size", "reflective_model", {RULE: "none"}, sized=True),
    Arm("cold + more cold, same compute", "reflective_model", {DATA: ["skills", "cold"]}),
    Arm("reflective on base", "reflective_model", {START: "base_model"}),
    Arm("GRPO, w_draw = 0", "grpo_model", {"grpo_model.w_draw": 0.0}, wide=True),
    Arm("reflective by `paper`", "reflective_model", {RULE: "paper"}),
    Arm("reflective by `strict+helped`", "reflective_model", {RULE: "strict+helped"}),
    Arm("GRPO, near-duplicates end a rollout", "grpo_model",
        {"grpo_model.repeat_iou": 0.8, "grpo_model.repeat_ends": 4.0}, ONE),
    Arm("text only: cold", "cold_model", TEXT, ONE),
    Arm("text only: cold + rejection-sampled + GRPO", "grpo_model", TEXT, ONE),
    Arm("Qwen3-VL: base", "base_model", OTHER, ONE),
    Arm("Qwen3-VL: cold", "cold_model", OTHER, ONE),
    Arm("Qwen3-VL: cold + reflective + GRPO", "grpo_model", OTHER, ONE),
)  # fmt: skip


def derived(main: Version, changes: Mapping[str, Any], repetition: int) -> Version:
    """A version with some of its fields changed, as if its file said so.

    Raises:
        ValueError: if it may not be so; pydantic's words.
    """
    content = main.model_dump(exclude_unset=True, mode="json")
    for path, value in {**changes, "repetition": repetition}.items():
        *above, last = path.split(".")
        inner = content
        for part in above:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return Version.model_validate(content)
