"""The arms: the version `ladder` with a few fields changed, and the model that is looked at.

Arms that agree up to a stage share its data and models, because addresses do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.versions import Version

VERSION = "ladder"
EVERY, ONE = (0, 1, 2), (0,)  # repetitions: of the recipe's stages, and of questions beside it
BASE, COLD, REFLECTIVE = "base", "cold", "cold + reflective"
GRPO, NO_REFLECTION = "cold + reflective + GRPO", "cold + GRPO"
PAPER_GRPO, PAPER_NO_REFLECTION = f"{GRPO}, w_draw = 0", f"{NO_REFLECTION}, w_draw = 0"
LONGER, LONGER_GRPO = "cold, twice the epochs", f"{GRPO}, twice the steps"
MORE_GRPO = f"{LONGER_GRPO}, four times the problems"
OTHER = "Qwen3-VL: "  # arms of another family: on its patches pictures have other sizes


@dataclass(frozen=True, slots=True)
class Arm:
    """One model of one derived version.

    Args:
        changes: fields of the version file, by their path with points. An arm with another canvas
            is asked other problems: it is compared with its like only.
        like: the set, ``cold`` or ``reflective``, of which it keeps as many trajectories as the
            recipe does.
        wide: pass@8 is measured, too.
    """

    name: str
    seat: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    repetitions: tuple[int, ...] = ONE
    like: str = ""
    wide: bool = False


START, DATA = "reflective_model.policy.start", "reflective_model.policy.data"
RL = "problems.splits.rl"  # the other splits keep their problems but for what RL takes before them
RULE, GRPO_START, W_DRAW = "filters.reflective.rule", "grpo_model.start", "grpo_model.w_draw"
# In words alone there is nothing to reflect on, and no drawing to be paid for.
TEXT = {
    "teacher.policy.draws": False,
    "filters.cold.min_turns": 1,
    "cold_model.policy.data": ["cold"],
    RULE: "none",
    W_DRAW: 0.0,
}
QWEN3 = {"family": "qwen3-vl", "canvas": {"smallest": 128, "largest": 128}}
DUPLICATES = {"grpo_model.repeat_iou": 0.8, "grpo_model.repeat_ends": 4.0}

ARMS = (
    Arm(BASE, "base_model", wide=True),
    Arm(COLD, "cold_model", repetitions=EVERY, wide=True),
    Arm(REFLECTIVE, "reflective_model", repetitions=EVERY, wide=True),
    Arm(GRPO, "grpo_model", repetitions=EVERY, wide=True),
    Arm(NO_REFLECTION, "grpo_model", {GRPO_START: "cold_model"}, repetitions=EVERY, wide=True),
    Arm(
        "cold + rejection-sampled, same size", "reflective_model", {RULE: "none"}, like="reflective"
    ),
    Arm("cold + more cold, same updates", "reflective_model", {DATA: ["skills", "cold"]}),
    Arm("reflective on base", "reflective_model", {START: "base_model"}),
    Arm(PAPER_GRPO, "grpo_model", {W_DRAW: 0.0}, wide=True),
    Arm("cold + reflective by `paper`", "reflective_model", {RULE: "paper"}),
    Arm("cold + reflective by `strict+helped`", "reflective_model", {RULE: "strict+helped"}),
    Arm(PAPER_NO_REFLECTION, "grpo_model", {GRPO_START: "cold_model", W_DRAW: 0.0}),
    Arm(f"{GRPO}, near-duplicates end a rollout", "grpo_model", DUPLICATES),
    Arm(LONGER, "cold_model", {"cold_model.policy.epochs": 8.0}),
    Arm(LONGER_GRPO, "grpo_model", {"grpo_model.steps": 160}, wide=True),
    Arm(
        MORE_GRPO, "grpo_model", {"grpo_model.steps": 160, RL: 1600}, repetitions=(0, 2), wide=True
    ),
    Arm("text only: cold", "cold_model", TEXT, like="cold"),
    Arm("text only: cold + rejection-sampled + GRPO", "grpo_model", TEXT, like="cold"),
    Arm(OTHER + BASE, "base_model", QWEN3),
    Arm(OTHER + COLD, "cold_model", QWEN3),
    Arm(OTHER + GRPO, "grpo_model", QWEN3),
)


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
