"""Makes the page of tasks: docs/tasks.md, and docs/tasks/NAME.webp for each task and source.

All of it follows from the code, from problems that it samples, and from what was measured last by
``benchmarks/difficulty.py``: a new task is on the page by being in its registry.
"""

import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from string import Formatter
from textwrap import fill
from types import FunctionType, ModuleType
from typing import NamedTuple

from benchmarks import difficulty
from benchmarks.difficulty import SIDE, Measured, interval
from pipeline import figures, skills
from pipeline.protocol import FAMILIES
from pipeline.reward import LETTERS
from pipeline.rollout import Limits, retrace
from pipeline.sources import SOURCES
from pipeline.tasks import TASKS
from pipeline.types import Box, Problem

HERE = Path(__file__).parent
SAMPLED = 400  # problems that a section is about
LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
MOST_MARKS = 12  # on a problem that is pictured
WIDTH = 118  # characters
INTRODUCTION = """# The tasks

Made by `make tasks` from the code itself. A task is one file of `pipeline/tasks`, a source one of
`pipeline/sources`. Both give pictures, a question, its answer and a *gold* drawing that leads to it,
at any size from 112 to 1000 px and any difficulty from 0 to 1. Below, the plain input stands to the
left of, or above, what the gold solution draws.
"""
MEASURES = f"""## How hard they are

Shares solved of {difficulty.ASKED} problems a row, at {SIDE} × {SIDE} px, by the one scorer, with
Wilson's 95 % intervals:

- **blind**: a guesser that sees the question and its options, never a picture, and knows
  {difficulty.KNOWN:,} other problems of the same task and difficulty with their answers
  (`benchmarks/blind.py`). For problems with options, what equal chances give stands in brackets;
- **a look**: a crude cue read off the plain pictures at once, without drawing: patches of a colour,
  straight over the walls, the first frame and the last (`benchmarks/glance.py`; — where none is
  written). A program compares pixels exactly where a model does not: a high share says that a
  shortcut exists, not that a model sees it;
- **gold**: the gold solution.
"""


class Wording(NamedTuple):
    """A sentence with gaps, one of several that ask the same."""

    kind: str
    text: str

    def found(self, question: str) -> int | None:
        """Where in a question this sentence begins, its gaps filled; None if it does not occur."""
        parts = [
            re.escape(said) + (".+?" if gap is not None else "")
            for said, gap, _, _ in Formatter().parse(self.text)
        ]
        match = re.search(rf"(?:^|\s){''.join(parts)}(?:\s|$)", question)
        return match.start() if match else None


def main() -> None:
    (HERE / "tasks").mkdir(exist_ok=True)
    names = [*TASKS, *SOURCES]
    for name in names:
        data = picture(pictured(name))
        (HERE / "tasks" / f"{name}.webp").write_bytes(data)
        print(f"{name}: {len(data):,} bytes")
    index = ", ".join(f"[{name}](#{name})" for name in names)
    begin = f"{INTRODUCTION}\n{wrapped(f'{index}; [how hard they are](#how-hard-they-are).')}\n"
    rows = difficulty.recorded()
    parts = [
        begin,
        *map(section, names),
        MEASURES,
        table(rows),
        "",
        wrapped(told_blindly(rows)),
        "",
    ]
    (HERE / "tasks.md").write_text("\n".join(parts))


def pictured(name: str) -> Problem:
    """The first problem of medium difficulty whose gold draws some marks, and not too many; on
    several pictures, if there are several."""
    for n in count():
        problem = difficulty.made(name, 0.5, f"pictured/{n}", "cold")
        drawn_on = [op.k for step in problem.gold for op in step.ops]
        several = min(2, len(problem.images))
        if 2 < len(drawn_on) <= MOST_MARKS and len(set(drawn_on)) >= several:
            return problem
    raise AssertionError("counting has no end")


def picture(problem: Problem) -> bytes:
    told = skills.gold(problem, Limits(), FAMILIES["qwen2.5-vl"])
    return figures.webp(figures.plain_and_drawn(problem, retrace(problem, told), SIDE), quality=85)


def section(name: str) -> str:
    """One task's part of the page."""
    shown, where = pictured(name), module(name)
    problems = [
        difficulty.made(name, LEVELS[n % len(LEVELS)], f"page/{n}", "cold") for n in range(SAMPLED)
    ]
    asked = {problem.question for problem in problems}
    kinds = sorted_out(problems, list(wordings(where)))
    worded = sum(len({wording for wording, _ in kind}) for kind in kinds)
    said = (where.__doc__ or "").strip().replace("``", "`")
    return f"""## {name}

{said}

![{name}](tasks/{name}.webp)

{caption(shown)}

{chr(10).join(bullet(kind, len(problems)) for kind in kinds)}

{wrapped(drawn(problems))}
{len(problems)} problems were asked in {worded} wordings, and in {len(asked)} different texts.
"""


def module(name: str) -> ModuleType:
    """Where a task or source is written."""
    kind = TASKS[name]() if name in TASKS else SOURCES[name]()
    return sys.modules[kind.__module__]


def wordings(where: ModuleType) -> Iterator[Wording]:
    """All sentences of a task's module, and of the modules that it takes something from."""
    for reached in modules(where):
        for name, value in vars(reached).items():
            for texts in value.values() if isinstance(value, dict) else [value]:
                if isinstance(texts, tuple) and all(isinstance(text, str) for text in texts):
                    kind = f"{reached.__name__}.{name}"
                    yield from (Wording(kind, text) for text in texts if text[-1:] in (".", "?"))


def modules(where: ModuleType) -> list[ModuleType]:
    """A module, and those of its package that it imports or takes something from, and so on."""
    reached = [where]
    for one in reached:  # grows while it is walked
        for value in vars(one).values():
            home = value if isinstance(value, ModuleType) else inspect.getmodule(type(value))
            if isinstance(value, type | FunctionType):
                home = inspect.getmodule(value)
            near = home is not None and home.__name__.startswith(f"{where.__package__}.")
            if home is not None and near and home not in reached:
                reached.append(home)
    return reached


def sorted_out(
    problems: Sequence[Problem], sentences: Sequence[Wording]
) -> list[list[tuple[str, Problem]]]:
    """Problems that ask the same, each with its wording: the last sentence that asks something."""
    kinds: dict[str, list[tuple[str, Problem]]] = {}
    for problem in problems:
        starts = {one: one.found(problem.question) for one in sentences}
        found = {one: start for one, start in starts.items() if start is not None}
        best = max(found, key=lambda one: ("?" in one.text, found[one], len(one.text)))
        kinds.setdefault(best.kind, []).append((best.text, problem))
    return sorted(kinds.values(), key=len, reverse=True)


def caption(problem: Problem) -> str:
    """What is asked of the problem that is pictured."""
    options = [
        text if text == LETTERS[n] else f"{LETTERS[n]}: {text}"
        for n, text in enumerate(problem.options)
    ]
    offered = f" ({'; '.join(options)})" if options else ""
    return wrapped(f"*{problem.question}*{offered} Answer: {problem.answer}")


def bullet(kind: Sequence[tuple[str, Problem]], total: int) -> str:
    """One kind of question: two wordings of it, how many there are, how often, what is answered."""
    first = {wording: problem.question for wording, problem in reversed(kind)}
    examples = " / ".join(f"*{question}*" for question in list(first.values())[:2])
    problems = [problem for _, problem in kind]
    return wrapped(
        f"- {examples} – {len(first)} wordings, {len(problems) / total:.0%} of problems; answered by "
        f"{answers(problems)}.",
        "  ",
    )


def answers(problems: Sequence[Problem]) -> str:
    options = sorted({len(problem.options) for problem in problems} - {0})
    numbers = sorted({float(p.answer) for p in problems if not p.options})
    said = []
    if options:
        said.append(f"one of {span(options)} options")
    if numbers:
        said.append(f"a number, {span(numbers)}")
    return " or ".join(said)


def drawn(problems: Sequence[Problem]) -> str:
    """What the gold solutions draw: at the ends of difficulty, and on how many pictures."""
    told = []
    for level in (LEVELS[0], LEVELS[-1]):
        golds = [problem.gold for problem in problems if problem.difficulty == level]
        ops = [op for gold in golds for step in gold for op in step.ops]
        boxes = sum(isinstance(op, Box) for op in ops)
        counts = {"boxes": boxes / len(golds), "lines": (len(ops) - boxes) / len(golds)}
        told.append(" and ".join(f"{many:.1f} {what}" for what, many in counts.items() if many))
    steps = span(sorted({len(problem.gold) for problem in problems}))
    pictures = span(sorted({len(problem.images) for problem in problems}))
    return (
        f"Pictures: {pictures}. Turns that draw: {steps}. Gold draws {told[0]} on average at "
        f"difficulty 0, {told[1]} at difficulty 1."
    )


def wrapped(text: str, indent: str = "") -> str:
    whole = {
        "break_long_words": False,
        "break_on_hyphens": False,
    }  # a link's place stays on its line
    return fill(text, WIDTH, subsequent_indent=indent, **whole)


def span(values: Sequence[float]) -> str:
    return f"{values[0]:g}" + (f" to {values[-1]:g}" if len(values) > 1 else "")


def table(rows: Sequence[Measured]) -> str:
    head = ("task", "difficulty", "blind", "of choices (chance)", "of numbers", "a look", "gold")
    lines = []
    for row in rows:
        choices, numbers = round(row.choices * row.asked), round((1 - row.choices) * row.asked)
        blind = [
            shared(row.blind, row.asked),
            f"{shared(row.blind_choice, choices)} ({row.chance:.2f})" if choices else "—",
            shared(row.blind_number, numbers) if numbers else "—",
        ]
        look = "—" if row.look is None else shared(row.look, row.asked)
        lines.append((row.task, f"{row.difficulty:g}", *blind, look, f"{row.gold:.2f}"))
    return figures.table(head, lines)


def told_blindly(rows: Sequence[Measured]) -> str:
    """Where options or questions give answers away."""
    better = [
        f"{row.task} at {row.difficulty:g}"
        for row in rows
        if (choices := round(row.choices * row.asked))
        and interval(row.blind_choice, choices)[0] > row.chance
    ]
    return (
        "Of problems with options, the guesser solves more than equal chances give, by more than the "
        f"interval, in {', '.join(better) or 'none of these rows'}. By luck alone one row in forty "
        "would."
    )


def shared(share: float, of: int) -> str:
    """A share with its interval."""
    low, high = interval(share, of)
    return f"{share:.2f} ({low:.2f}–{high:.2f})"


if __name__ == "__main__":
    main()
