"""S: what a finished trajectory is worth. One scorer for the filter, the RL reward and evaluation.

A fault of the model scores (and scores 0); a fault of this code or of the problem raises.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from pipeline import geometry
from pipeline.geometry import Corners
from pipeline.types import (
    Answer,
    Box,
    Fault,
    Kind,
    Mark,
    Op,
    Problem,
    Score,
    State,
    Stop,
    Trajectory,
)

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    *("nineteen", "twenty"),
)
MAX_EXPONENT = 30
MAX_DIGITS = 40
LINE_MATCH = 0.15  # of the diagonal: the mean end distance at which a line is worth nothing


@dataclass(frozen=True, slots=True)
class Rules:
    """What a version may set of the score (β, w_draw and `solved_at`)."""

    beta: float = 0.0
    solved_at: float = 0.9
    w_draw: float = 0.0


def score(problem: Problem, trajectory: Trajectory, state: State, rules: Rules) -> Score:
    """S of a trajectory; ``state`` is what it came to (`rollout.retrace`).

    S = 1[S_correct > β] · (S_correct + S_format + w_draw · S_draw); exactly 0 without an answer.
    """
    drawn = draw_quality(problem, state.live)
    if trajectory.stop is not Stop.ANSWERED:
        return Score(correct=0.0, format=well_formed(trajectory), draw=drawn, total=0.0)
    last = trajectory.turns[-1].parsed
    assert isinstance(last, Answer), f"{trajectory.id} is answered, but its last turn is {last}"
    right = correct(problem, last.text)
    formatted = well_formed(trajectory)
    total = right + formatted + rules.w_draw * (drawn or 0.0) if right > rules.beta else 0.0
    return Score(correct=right, format=formatted, draw=drawn, total=total)


def solved(kind: Kind, value: Score, rules: Rules) -> bool:
    return value.correct == 1 if kind is Kind.CHOICE else value.correct >= rules.solved_at


def well_formed(trajectory: Trajectory) -> float:
    """S_format: 1 if every turn obeys the grammar strictly and every op was executed, else 0."""
    for turn in trajectory.turns:
        if isinstance(turn.parsed, Fault) or turn.parsed.lenient:
            return 0.0
    return 1.0


def correct(problem: Problem, text: str) -> float:
    """S_correct of an answer's text: 0 or 1 for a choice, mean relative accuracy for a number."""
    if problem.kind is Kind.CHOICE:
        return float(letter(text, problem.options) == problem.answer)
    truth, given = number(problem.answer), number(text)
    if truth is None:
        raise ValueError(f"problem {problem.id}: its answer {problem.answer!r} is no number")
    return 0.0 if given is None else mean_relative_accuracy(given, truth)


def mean_relative_accuracy(given: Fraction, truth: Fraction) -> float:
    """The share of θ in {0.50, 0.55, …, 0.95} with |A − Â| / |Â| < 1 − θ, exactly (Â = 0: 1 or 0)."""
    if given == truth:
        return 1.0
    if truth == 0:
        return 0.0
    missed = 20 * abs(given - truth) // abs(truth)  # that many of ten are not within their θ
    return max(0, 10 - missed) / 10


# A lone letter, perhaps in brackets; one with a separator after it, and whatever follows.
_LONE = re.compile(r"[\(\[\{]?\s*([A-Za-z])\s*[\)\]\}]?\s*[.:,)]?")
_LED = re.compile(
    r"(?:[\(\[\{]\s*([A-Za-z])\s*[\)\]\}]|([A-Za-z])\s*[.:)])\s*(?:[.:,](?!\d))?\s*(.*)", re.DOTALL
)


def letter(text: str, options: Sequence[str]) -> str | None:
    """The option that an answer names, or None.

    "b", "(B)", "B.", "B. table" and "table" are all B; two letters, or a letter with another
    option's text, are none.
    """
    said = plain(text)
    if (lone := _LONE.fullmatch(said)) and (chosen := _within(lone[1], options)):
        return chosen
    named = [LETTERS[n] for n, option in enumerate(options) if plain(option) == said]
    if named:
        return named[0] if len(named) == 1 else None
    led = _LED.fullmatch(said)
    if led is None:
        return None
    chosen = _within(led[1] or led[2], options)
    if chosen is None:
        return None
    return chosen if plain(led[3]) == plain(options[LETTERS.index(chosen)]) else None


def _within(initial: str, options: Sequence[str]) -> str | None:
    place = LETTERS.find(initial.upper())
    return LETTERS[place] if 0 <= place < len(options) else None


def plain(text: str) -> str:
    """An option's text as it is compared: without letter case, spacing and what is put around it."""
    said = " ".join(text.casefold().split()).strip(" \"'`*").rstrip(".")
    return said if re.match(r"\.\d", said) else said.lstrip(".").strip(" \"'`*")


_NUMBER = re.compile(
    r"""(?<![\w.,])                                   # not inside a word or another number
    (?P<sign>(?:minus|negative)\ |[-+]\ ?)?
    (?P<digits>(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)
    (?:e(?P<exponent>[-+]?\d{1,4}))?
    (?:\ ?/\ ?(?P<under>\d+))?
    (?P<percent>\ ?(?:%|per\ ?cent\b))?
    (?![\d_/]|[.,]\d|e[-+]?\d|\.e)""",
    re.VERBOSE,
)
_ONE_OF = "|".join(WORDS)
_WORD = re.compile(rf"\b({_ONE_OF})\b")
# What would make a number another one than the digits or the word beside it say.
_SCALED = re.compile(
    r"\b(?:hundred|thousand|million|billion|dozen|half|halve|third|quarter|fourth|fifth|tenth|"
    r"thirty|forty|fifty|sixty|seventy|eighty|ninety|no one)s?\b|\d ?[k±^]|[±²³¹⁰-⁹¼-¾⅐-⅞]"
    rf"|(?:\b(?:non|minus|negative)[ -]|(?<!\w)-|(?:^|\b(?:{_ONE_OF}) )point )(?:{_ONE_OF})\b"
    rf"|\b(?:{_ONE_OF}) ?(?:%|per ?cent\b)"
)
_DASHES = str.maketrans(dict.fromkeys("‐‑‒–—−", "-"))


def number(text: str) -> Fraction | None:
    """The one number that a text states, exactly; None for no number or for two different ones.

    Reads "1,234", "3 meters", "50%", "1/2", "2e3", "minus 5" and words up to twenty. What it cannot
    be sure of ("two hundred", "5k", "1½") is no number rather than a wrong one.
    """
    return None if len(text) > 1000 else _stated(text)


@lru_cache(maxsize=1024)  # the truth is asked for with every sample, and answers are alike
def _stated(text: str) -> Fraction | None:
    said = " ".join(text.casefold().translate(_DASHES).split())
    if _SCALED.search(said):
        return None
    values = {_value(match) for match in _NUMBER.finditer(said)}
    leftovers = _NUMBER.sub(" ", said)
    if re.search(r"(?<![a-z_\d])\d", leftovers):  # digits that make no number: "1,23", "3.4.5"
        return None
    values |= {Fraction(WORDS.index(word)) for word in _WORD.findall(leftovers)}
    return values.pop() if len(values) == 1 else None


def _value(match: re.Match[str]) -> Fraction | None:
    digits = match["digits"].replace(",", "")
    exponent, under = int(match["exponent"] or 0), match["under"] or "1"
    if max(len(digits), len(under)) > MAX_DIGITS or abs(exponent) > MAX_EXPONENT or int(under) == 0:
        return None
    value = Fraction(digits) * Fraction(10) ** exponent / int(under)
    value = -value if (match["sign"] or "").startswith(("-", "minus", "negative")) else value
    return value / 100 if match["percent"] else value


def draw_quality(problem: Problem, live: Iterable[Mark]) -> float | None:
    """S_draw, 0..1: how well the live marks cover the truth objects that the gold ops mark.

    One to one, best match first: IoU for boxes, 1 − end distance / 15 % of the diagonal for
    lines. The mean over truth objects, where each mark that matches nothing counts as one more
    object that is missed. None where the truth is not known.
    """
    marks, truth = list(live), _truth(problem)
    if not truth:
        return None
    pairs = _pairs(problem, marks, truth)
    return sum([value for value, _, _ in pairs]) / (len(truth) + len(marks) - len(pairs))


def needless(problem: Problem, live: Iterable[Mark]) -> list[Mark]:
    """The live marks that match no truth object, or one that another mark matches better."""
    marks = list(live)
    matched = {m for _, m, _ in _pairs(problem, marks, _truth(problem))}
    return [mark for m, mark in enumerate(marks) if m not in matched]


def _truth(problem: Problem) -> list[Op]:
    return [op for step in problem.gold for op in step.ops]


def _pairs(
    problem: Problem, marks: Sequence[Mark], truth: Sequence[Op]
) -> list[tuple[float, int, int]]:
    """(how well, mark, truth object), one to one, best first."""
    there: dict[tuple[int, type], list[tuple[int, Corners]]] = {}
    for t, op in enumerate(truth):
        there.setdefault((op.k, type(op)), []).append((t, op.p))
    found = []
    for m, mark in enumerate(marks):
        if others := there.get((mark.base, type(mark.op))):
            found += [(-value, m, t) for value, t in _matches(problem, mark, others)]
    pairs: list[tuple[float, int, int]] = []
    used_marks: set[int] = set()
    used_truth: set[int] = set()
    for value, m, t in sorted(found):
        if m not in used_marks and t not in used_truth:
            used_marks.add(m)
            used_truth.add(t)
            pairs.append((-value, m, t))
    return pairs


def _matches(
    problem: Problem, mark: Mark, others: Sequence[tuple[int, Corners]]
) -> list[tuple[float, int]]:
    """How well a mark covers each truth object of its type on its picture, those at all near alone."""
    p = mark.op.p
    (x1, y1), (x2, y2) = p
    if isinstance(mark.op, Box):
        return [
            (geometry.iou(p, other), t)
            for t, other in others
            if x1 < other[1][0] and other[0][0] < x2 and y1 < other[1][1] and other[0][1] < y2
        ]
    reach = LINE_MATCH * geometry.diagonal(problem.images[mark.base - 1].size)
    far = 2 * reach + 1  # lines are at least as far apart as their middles; 1 for the rounding
    across, down = x1 + x2, y1 + y2
    return [
        (value, t)
        for t, other in others
        if abs(across - other[0][0] - other[1][0]) < far
        and abs(down - other[0][1] - other[1][1]) < far
        and (value := 1 - geometry.mean_end_distance(p, other) / reach) > 0
    ]
