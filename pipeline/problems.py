"""Problems of a version: sampled from tasks and sources, checked, unique, split.

A problem's random stream is keyed by seed, split, task, the task's own version and its index, never
by the dataset version: a version that only filters differently asks the same problems.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import count, islice
from random import Random
from typing import TypeVar

from pipeline.crew import crew, done
from pipeline.external import ExternalError, Unread, asked
from pipeline.images import PictureError
from pipeline.importing import Ledger, few, imported, marks_of, open_all
from pipeline.mix import EVALUATED, EVALUATION_UNITS, TRAINING_UNITS, UNSEEN
from pipeline.near import CLOSE, WIDE, Index, sign, signature, unless_contaminated, unless_near
from pipeline.reward import LETTERS, number, plain
from pipeline.sources import SOURCES
from pipeline.sources.ingest import Refused as Refused
from pipeline.tasks import TASKS, Wording
from pipeline.types import KEPT, Kind, Problem, Size, Verdict
from pipeline.versions import Version

# The order in which splits claim their scenes: evaluation first, so that it never shrinks because
# a training split has grown.
CLAIM_ORDER = (*EVALUATED, "rl", "reflective", "cold", "skills")
TRIES = 4  # problems sampled at most for each that is asked for, before a split is given up
CHUNK = 16  # problems a worker makes at a time
ALONE = 64  # problems up to which starting workers costs more than it saves

Asked = TypeVar("Asked")
Made = TypeVar("Made")


class NotEnough(Exception):
    """A mix that cannot give as many different problems as a version asks for."""


@dataclass(frozen=True, slots=True)
class Order:
    """Everything that decides one problem."""

    maker: str  # a task or a source
    split: str
    index: int  # within split and maker
    seed: int
    size: Size
    unit: int
    difficulty: float
    wording: Wording

    @property
    def id(self) -> str:
        return f"{self.maker}-{self.split}-{self.index:06d}"


def sample(
    version: Version,
    workers: int = 1,
    clear: "Clear | None" = None,
    ledger: Ledger | None = None,
) -> Iterator[tuple[str, Problem | Refused, Verdict]]:
    """(split, problem, verdict) for all splits: kept ones as many as asked for, and what was dropped.

    Rows of imports come first, as many as their share; tasks and sources fill up what is wanted then.

    Args:
        clear: what problems are to keep clear of besides; by default of what the version names.
        ledger: where it is told what became of imported rows.

    Raises:
        NotEnough: if `TRIES` times as many samples do not give enough different problems.
        ExternalError: if a set that they are to keep clear of cannot be read.
        SourceError: if an import cannot be read.
    """
    claimed: dict[bytes, str] = {}
    clear, ledger = clear or Clear(version), ledger or Ledger()
    got: Counter[str] = Counter()
    few_asked = sum(version.problems.splits.values()) <= ALONE
    with crew(1 if few_asked else workers) as pool:
        for split, problem, verdict in imported(
            version,
            ledger,
            lambda jobs: _made(pool, workers, jobs, open_all),
            lambda split, problem: _claim_row(claimed, clear, split, problem),
        ):
            got[split] += verdict.keep
            yield split, problem, verdict
        for split in CLAIM_ORDER:
            wanted, kept = version.problems.splits[split] - got[split], 0
            if not version.problems.makers(split):
                ledger.short |= {split: wanted} if wanted else {}
                continue
            asked_for = islice(orders(version, split), TRIES * wanted)
            made = _made(pool, workers, asked_for, make_all)
            for problem in made:
                if kept == wanted:
                    break
                verdict = _claim(claimed, clear, split, problem)
                kept += verdict.keep
                yield split, problem, verdict
            if kept < wanted:
                raise NotEnough(
                    f"version {version.name!r}, split {split!r}: {kept} different problems in "
                    f"{TRIES * wanted} tries, {wanted} wanted: ask for fewer, or widen the mix"
                )


def orders(version: Version, split: str) -> Iterator[Order]:
    """The endless list of what a split asks for: makers in proportion to their shares."""
    makers = version.problems.makers(split)
    given = dict.fromkeys(makers, 0)
    for n in count(1):
        total = sum(maker.share for maker in makers.values())
        maker = max(makers, key=lambda m: n * makers[m].share / total - given[m])
        yield _order(version, split, maker, given[maker])
        given[maker] += 1


def _order(version: Version, split: str, maker: str, index: int) -> Order:
    ingredient = version.problems.makers(split)[maker]
    rng = Random(f"{version.seed}/{split}/{maker}/order/{index}")
    low, high = ingredient.difficulty
    unit = version.wire.unit
    sides = version.sides(split)
    most = EVALUATION_UNITS if split == "unseen_size" else TRAINING_UNITS
    width, height = rng.choice(sides), rng.choice(sides)
    while width * height > most:
        width, height = rng.choice(sides), rng.choice(sides)
    return Order(
        maker=maker,
        split=split,
        index=index,
        seed=version.seed,
        size=Size(width * unit, height * unit),
        unit=unit,
        difficulty=round(rng.uniform(low, high), 3),
        wording=version.wording,
    )


def make(order: Order) -> Problem:
    """Fills one order.

    Raises:
        PictureError: if a source has a picture that is refused.
    """
    made = {"difficulty": order.difficulty, "wording": order.wording}
    sides = {"width": order.size.width, "height": order.size.height}
    if order.maker in TASKS:
        task = TASKS[order.maker]()(**sides, **made)  # type: ignore[arg-type]
        problem = task.sample(_stream(order, task.VERSION))
    else:
        source = SOURCES[order.maker]()(**sides, unit=order.unit, **made)  # type: ignore[arg-type]
        # A source is divided among the usual splits: what is unseen is evaluated on.
        region = "evaluation" if order.split in UNSEEN else order.split
        problem = source.sample(_stream(order, source.VERSION), region)
    return replace(problem, id=order.id)


def _stream(order: Order, version: str) -> Random:
    return Random(f"{order.seed}/{order.split}/{order.maker}/{version}/{order.index}")


def try_to_make(order: Order) -> Problem | Refused:
    try:
        return make(order)
    except PictureError as error:
        verdict = Verdict(False, f"picture_{error.reason}", error.detail)
        return Refused(order.id, order.maker, verdict)


def make_all(orders: list[Order]) -> list[Problem | Refused]:
    return [try_to_make(order) for order in orders]


def _made(
    pool: ProcessPoolExecutor | None,
    workers: int,
    asked: Iterator[Asked],
    make: Callable[[list[Asked]], list[Made]],
) -> Iterator[Made]:
    """Problems in the order asked, a bounded number ahead; the same with any number of workers."""
    if pool is None:
        for one in asked:
            yield from make([one])
        return
    chunks = iter(lambda: list(islice(asked, CHUNK)), [])
    for made in done(pool, make, chunks, 2 * workers):
        yield from made


def _claim(
    claimed: dict[bytes, str], clear: "Clear", split: str, problem: Problem | Refused
) -> Verdict:
    """Checks a problem and takes its scene for its split, unless another problem had it before."""
    if isinstance(problem, Refused):
        return problem.verdict
    verdict = check(problem)
    if not verdict.keep:
        return verdict
    prints = fingerprints(problem)
    for mark in prints:
        if (owner := claimed.get(mark)) is not None:
            reason = "duplicate" if owner == split else "in_other_split"
            return Verdict(False, reason, f"its scene is in {owner}")
    if not (verdict := clear.verdict(split, problem)).keep:
        return verdict
    claimed.update(dict.fromkeys(prints, split))
    return KEPT


def _claim_row(claimed: dict[bytes, str], clear: "Clear", split: str, problem: Problem) -> Verdict:
    """The same for an imported problem, whose pictures no other split may show, whatever is asked."""
    shown = marks_of(problem)
    for mark in shown:
        if (owner := claimed.get(mark, split)) != split:
            return Verdict(False, "in_other_split", f"a picture of it is in {owner}")
    verdict = _claim(claimed, clear, split, problem)
    if verdict.keep:
        claimed.update(dict.fromkeys(shown, split))
    return verdict


def some(version: Version, split: str, count: int) -> list[Problem]:
    """A few problems of a split, to look at or to measure: fewer where its sources have no more."""
    makers = version.problems.makers(split)
    imports = [one for one in version.problems.imports.values() if split in one.splits]
    shares = sum(one.share for one in imports)
    every = shares + sum(maker.share for maker in makers.values())
    given = list(few(version, split, math.ceil(count * shares / every))) if imports else []
    made = islice(orders(version, split), count - len(given)) if makers else ()
    return [*given, *map(make, made)]


class Clear:
    """What problems of a version are to keep clear of, beyond scenes that are the very same.

    With ``near_duplicates: drop``, of all problems before them that look alike and ask the same
    (`near.CLOSE`), and of those that are evaluated on by a wider margin (`near.WIDE`). Of external sets,
    all problems of every split: there only the pictures count, unless the set says otherwise.

    Raises:
        ExternalError: if a set cannot be read, or none of its rows.
    """

    def __init__(self, version: Version) -> None:
        self._all = Index(CLOSE) if version.problems.near_duplicates == "drop" else None
        self._evaluated = Index(WIDE)
        self._external: list[Index] = []
        self.read: dict[
            str, dict[str, int]
        ] = {}  # rows of each external set, by what became of them
        for external in version.problems.clear_of:
            index, counts = Index(WIDE, question=external.same_question), Counter[str]()
            for row in asked(external.found, external.columns):
                if isinstance(row, Unread):
                    counts[row.verdict.reason] += 1
                else:
                    counts["read"] += 1
                    index.add(f"{external.path}: {row.id}", sign(row.pictures, row.question))
            self._external.append(index)
            self.read[external.path] = _some_read(external.path, counts)

    def verdict(self, split: str, problem: Problem) -> Verdict:
        """Whether a problem is far enough from all of them; one that is counts from now on."""
        if self._all is None and not self._external:
            return KEPT
        signed = signature(problem)
        judged = [unless_contaminated(index, signed) for index in self._external]
        if self._all is not None:
            if split not in EVALUATED:
                judged.append(unless_contaminated(self._evaluated, signed))
            if all(verdict.keep for verdict in judged):
                judged.append(unless_near(self._all, problem.id, signed))
        dropped = next((verdict for verdict in judged if not verdict.keep), None)
        if dropped is None and split in EVALUATED:
            self._evaluated.add(problem.id, signed)
        return dropped or KEPT


def _some_read(path: str, counts: Counter[str]) -> dict[str, int]:
    """Rows of a set by what became of them. Who was compared with no row is not clear of the set."""
    if not counts["read"]:
        why = ", ".join(f"{reason} {n}" for reason, n in counts.most_common()) or "it is empty"
        raise ExternalError(
            f"{path}: none of its rows can be compared with ({why}): mend its rows and pictures, or "
            "take it out of problems.clear_of"
        )
    return dict(sorted(counts.items()))


def fingerprints(problem: Problem) -> tuple[bytes, ...]:
    """What makes two problems the same: all pictures and the question, or the scene's geometry.

    The geometry says what is asked of it, so that another wording is no other problem.
    """
    pictures = "/".join(image.sha256 for image in problem.images)
    facts = [f"pictures/{pictures}/{problem.question}"]
    if problem.scene is not None and problem.scene.geometry:
        facts.append(f"scene/{problem.task}/{problem.scene.geometry}")
    return tuple(hashlib.blake2b(fact.encode(), digest_size=16).digest() for fact in facts)


def check(problem: Problem) -> Verdict:
    """Whether a problem can be asked and graded; if not, a typed reason."""
    if not problem.images:
        return Verdict(False, "no_picture")
    if not problem.question.strip():
        return Verdict(False, "no_question")
    if not problem.answer.strip():
        return Verdict(False, "no_answer")
    if problem.kind is Kind.CHOICE:
        return _check_choice(problem)
    if problem.options:
        return Verdict(False, "options_of_a_number")
    if number(problem.answer) is None:
        return Verdict(False, "answer_is_no_number", problem.answer[:80])
    return KEPT


def _check_choice(problem: Problem) -> Verdict:
    letters = LETTERS[: len(problem.options)]
    if len(problem.options) < 2 or len(problem.options) > len(LETTERS):
        return Verdict(False, "number_of_options", str(len(problem.options)))
    if len({plain(option) for option in problem.options}) < len(letters):
        return Verdict(False, "options_not_unique")
    if len(problem.answer) != 1 or problem.answer not in letters:
        return Verdict(False, "answer_out_of_range", f"{problem.answer[:80]!r} of {letters}")
    return KEPT
