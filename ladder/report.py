"""docs/ladder.md from the records: what was measured, and what was looked for beside it.

Whatever is compared is compared over the repetitions that both arms have. Differences in accuracy
are paired by problem: of each problem its share of solved samples, mean over those repetitions;
intervals resample problems. Repetitions are few, and shown one by one.
"""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from ladder.arms import (
    ARMS,
    BASE,
    COLD,
    GRPO,
    LONGER,
    LONGER_GRPO,
    MORE_GRPO,
    OTHER,
    PAPER_GRPO,
    PAPER_NO_REFLECTION,
    REFLECTIVE,
)
from ladder.measure import MANY, Record
from pipeline import figures
from pipeline.types import Stop
from trainers.bootstrap import Interval, difference, interval, pass_at

DRAWS = 10_000
MINUTES, CORES = 20, 2  # that the trainings of an arm may take, and where
Arms = Mapping[str, Sequence[Record]]  # by name; repetitions in order
Table = tuple[Sequence[str], list[Sequence[str]]]  # its head, and its rows
HEAD = """# The ladder

What each stage of the recipe adds to a tiny base, on problems that no stage and no base saw. Made by
`make ladder` from the version `ladder` ({about}).
Settings were chosen by validation loss and by reward on problems to learn from; that they were chosen
twice followed from a first ladder (*How the rates were chosen*). Accuracy, drawing and reflection are
at temperature 1: {samples} samples of each of {problems} problems, and one more for greedy. Measured
{dates} on {machines}.

*n* are repetitions, *each* their accuracies. *needless* are boxes that hold nothing, or what another
box holds better, at the end of a trajectory. All bases have learnt drawing skills and nothing else:
arms that use words alone begin with a model that was taught to draw. Not measured, since a tiny model
cannot be prompted: the paper's "prompting without training is worse than the plain model".
"""


def report(records: Sequence[Record], about: str, notes: str) -> str:
    """Markdown. Arms that have not been measured are named; ``notes`` are what a person says of it."""
    arms: Arms = {
        arm.name: some
        for arm in ARMS
        if (some := sorted((r for r in records if r["arm"] == arm.name), key=_repetition))
    }
    first, dates = records[0], [record["date"] for record in records]
    head = HEAD.format(
        about=about,
        dates=" to ".join(dict.fromkeys((min(dates), max(dates)))),
        machines="; ".join(sorted({record["machine"] for record in records})),
        samples=first["samples"],
        problems=len(first["solved"]),
    )
    parts = [
        head,
        "## Arms\n",
        figures.table(*_arms(arms)),
        _missing(arms),
        "## What was looked for\n",
        figures.table(("", "looked for", "seen", ""), [*_looked_for(arms)]),
        notes,
        "\n## The paper's orderings\n",
        figures.table(("", "in the paper", "here", ""), [*_orderings(arms)]),
        "\n## Differences in accuracy, in points, paired by problem\n",
        figures.table(("", "difference", "repetitions"), [*_differences(arms)]),
        "\n## pass@8 and pass@1, on 200 problems\n",
        figures.table(("", "pass@1", "pass@8", "gap"), [*_passes(arms)]),
        "\n## By task and by kind of answer\n",
        figures.table(*_breakdown(arms)),
        "\n## By turns, the answer included: share of trajectories, and accuracy among them\n",
        figures.table(*_by_turns(arms)),
        "\n## How rollouts end\n",
        figures.table(*_stops(arms)),
        "\n## The sets (kept of all), and minutes of training from the base on\n",
        figures.table(("", "cold set", "reflective set", "RL problems", "minutes"), [*_made(arms)]),
        "\n## Trainings\n",
        *_curves(arms),
    ]
    return "\n".join(parts)


def _repetition(record: Record) -> int:
    return int(record["repetition"])


def _arms(arms: Arms) -> Table:
    shown = ("draw", "format", "paper", "strict", "helped", "turns", "boxes", "needless", "lines")
    head = ("", "n", "accuracy", "each", "S_correct", "greedy", *shown, "tokens")
    rows: list[Sequence[str]] = []
    for name, records in arms.items():
        each = ", ".join(f"{100 * fmean(_rates([r])):.1f}" for r in records)
        greedy = [fmean(r["greedy"]) for r in records if r["greedy"]]
        rows.append(
            (
                name,
                str(len(records)),
                _points(interval(_rates(records), DRAWS)),
                each,
                f"{_mean(records, 'correct'):.3f}",
                f"{100 * fmean(greedy):.1f}" if greedy else "",
                *(f"{_mean(records, one):.3f}" for one in shown),
                f"{_mean(records, 'tokens'):.0f}",
            )
        )
    return head, rows


def _missing(arms: Arms) -> str:
    gone = [
        f"{arm.name} ({left})"
        for arm in ARMS
        if (left := len(arm.repetitions) - len(arms.get(arm.name, ())))
    ]
    return f"\nNot measured (repetitions): {'; '.join(gone)}.\n" if gone else ""


# Comparing ---------------------------------------------------------------------------------------


class Pair(NamedTuple):
    """Records of two arms of the same repetitions, on the same problems."""

    ours: list[Record]
    theirs: list[Record]

    def means(self, name: str) -> tuple[float, float]:
        return _mean(self.ours, name), _mean(self.theirs, name)

    def change(self, name: str) -> str:
        """Of a number's mean; where there are several repetitions, of each, since it has no interval."""
        now, before = self.means(name)
        if len(self.ours) == 1:
            return _change(now, before)
        sides = zip(self.ours, self.theirs, strict=True)
        each = (a["numbers"][name] - b["numbers"][name] for a, b in sides)
        return f"{_change(now, before)}; each {', '.join(f'{apart:+.3f}' for apart in each)}"

    def gap(self) -> Interval:
        """Of accuracies, paired by problem."""
        return difference(_rates(self.ours), _rates(self.theirs), DRAWS)


def _pair(arms: Arms, ours: str, theirs: str, needs: str = "solved") -> Pair | None:
    """What both have; None if that is nothing."""
    sides = [
        {(r["repetition"], r["problems"]): r for r in arms.get(name, ()) if needs in r}
        for name in (ours, theirs)
    ]
    shared = sorted(sides[0].keys() & sides[1].keys())
    return Pair(*([side[place] for place in shared] for side in sides)) if shared else None


def _rates(records: Sequence[Record]) -> list[float]:
    """Of each problem its share of solved samples, mean over repetitions."""
    each = [[n / r["samples"] for n in r["solved"]] for r in records]
    return [fmean(values) for values in zip(*each, strict=True)]


def _mean(records: Sequence[Record], name: str) -> float:
    return fmean(record["numbers"][name] for record in records)


def _points(found: Interval, sign: str = "") -> str:
    mean, low, high = (100 * value for value in found)
    return f"{mean:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}]"


def _change(now: float, before: float) -> str:
    share = f" ({100 * (now / before - 1):+.0f} %)" if before else ""
    return f"{before:.3f} → {now:.3f}{share}"


def _verdict(holds: bool) -> str:
    return "holds" if holds else "does not hold"


# What was looked for -----------------------------------------------------------------------------


def _looked_for(arms: Arms) -> Iterator[Sequence[str]]:
    for name in (GRPO, LONGER_GRPO, MORE_GRPO):
        if pair := _pair(arms, name, COLD):
            gap = pair.gap()
            short = f"short by {10 - 100 * gap.mean:.1f}"
            held = _verdict(gap.low > 0) if gap.mean >= 0.1 else short
            said = f"GRPO over cold{name.removeprefix(GRPO)}"
            yield said, "at least +10, interval above 0", _points(gap, "+"), held
    if pair := _pair(arms, REFLECTIVE, COLD):
        gap = pair.gap()
        held = "holds" if gap.mean >= -0.03 else f"short by {-3 - 100 * gap.mean:.1f}"
        yield "reflective against cold", "no worse than −3", _points(gap, "+"), held
        now, before = pair.means("strict")
        yield (
            "`strict` reflection, cold → reflective", "at least doubled", pair.change("strict"),
            _verdict(now > 0 and now >= 2 * before),
        )  # fmt: skip
    if pair := _pair(arms, GRPO, REFLECTIVE):
        now, before = pair.means("draw")
        yield (
            "S_draw, before → after GRPO",
            "no lower",
            pair.change("draw"),
            _verdict(now >= before),
        )
        now, before = pair.means("needless")
        said = "needless boxes, before → after GRPO"
        yield said, "fewer", pair.change("needless"), _verdict(now < before)
    if pair := _pair(arms, GRPO, REFLECTIVE, needs="wide"):
        (_, _, now), (_, _, before) = _passed(pair.ours), _passed(pair.theirs)
        seen = f"{100 * before:.1f} → {100 * now:.1f} points"
        yield "pass@8 − pass@1, before → after GRPO", "narrower", seen, _verdict(now < before)
    if alike := [record for record in arms.get(GRPO, []) if record["cores"] == CORES]:
        longest = max(map(_minutes, alike))
        said = f"minutes of training from base to GRPO on {CORES} cores, at most"
        yield said, f"{MINUTES}", f"{longest:.1f}", _verdict(longest <= MINUTES)
    if pair := _pair(arms, LONGER, COLD):
        gap = pair.gap()
        yield (
            "cold for twice the epochs: is it at its plateau?", "no better", _points(gap, "+"),
            _verdict(gap.low <= 0),
        )  # fmt: skip


def _orderings(arms: Arms) -> Iterator[Sequence[str]]:
    """On the arms that reward as the paper does."""
    without = "without the reflective stage"
    if pair := _pair(arms, PAPER_NO_REFLECTION, PAPER_GRPO):
        for number, paper, sign in (
            ("paper", "−96 %", -1),
            ("turns", "−34 %", -1),
            ("boxes", "−85 %", -1),
            ("lines", "+71 %", 1),
        ):
            now, before = pair.means(number)
            said = {"paper": "`paper` reflection"}.get(number, number)
            yield f"{said}, {without}", paper, _change(now, before), _way((now - before) * sign > 0)
        gap = pair.gap()
        near = _verdict(abs(gap.mean) <= 0.01)
        yield f"accuracy, {without}", "within a point", _points(gap, "+"), near
    if pair := _pair(arms, REFLECTIVE, PAPER_GRPO):
        now, before = pair.means("boxes")
        yield "boxes, without RL", "+159 %", _change(now, before), _way(now > before)
        lost = {}
        for kind, paper in (("number", "−9 points"), ("choice", "−4 points")):
            now, before = (fmean(r["numbers"]["kind"][kind] for r in side) for side in pair)
            lost[kind] = before - now
            yield (
                f"{kind} answers, without RL",
                paper,
                f"{-100 * lost[kind]:+.1f} points",
                _way(lost[kind] > 0),
            )
        more = lost["number"] > lost["choice"]
        yield (
            "numbers lose more than choices, without RL",
            "yes",
            "yes" if more else "no",
            _way(more),
        )


def _way(same: bool) -> str:
    return "same direction" if same else "other direction"


# Tables ------------------------------------------------------------------------------------------


def _differences(arms: Arms) -> Iterator[Sequence[str]]:
    same = [name for name in arms if OTHER not in name]
    pairs = [(name, COLD) for name in same]
    pairs += [
        (name, REFLECTIVE) for name in same if "GRPO" not in name and name not in (COLD, BASE)
    ]
    pairs += [(GRPO, REFLECTIVE), *((name, GRPO) for name in same if "GRPO" in name)]
    pairs += [(name, PAPER_GRPO) for name in same if "text" in name or name == PAPER_NO_REFLECTION]
    pairs += [(OTHER + COLD, OTHER + BASE), (OTHER + GRPO, OTHER + COLD)]
    for ours, theirs in pairs:
        if ours != theirs and (pair := _pair(arms, ours, theirs)):
            yield f"{ours} − {theirs}", _points(pair.gap(), "+"), str(len(pair.ours))


def _passed(records: Sequence[Record]) -> tuple[float, float, float]:
    """pass@1, pass@8 and their gap."""
    tries = [solved for record in records if "wide" in record for solved in record["wide"]]
    one, eight = fmean(n / 8 for n in tries), fmean(pass_at(8, n, 8) for n in tries)
    return one, eight, eight - one


def _passes(arms: Arms) -> Iterator[Sequence[str]]:
    for name, records in arms.items():
        if any("wide" in record for record in records):
            yield name, *(f"{100 * value:.1f}" for value in _passed(records))


def _breakdown(arms: Arms) -> Table:
    some = next(iter(arms.values()))[0]["numbers"]
    columns = [(by, value) for by in ("task", "kind") for value in some[by]]
    rows: list[Sequence[str]] = []
    for name, records in arms.items():
        shares = [fmean(r["numbers"][by][value] for r in records) for by, value in columns]
        rows.append((name, *(f"{100 * share:.1f}" for share in shares)))
    return ("", *(value for _, value in columns)), rows


def _by_turns(arms: Arms) -> Table:
    """Of the repetitions whose records tell it."""
    columns = [str(turns) for turns in range(1, MANY + 1)]
    rows: list[Sequence[str]] = []
    for name, records in arms.items():
        if told := [r["numbers"]["by_turns"] for r in records if "by_turns" in r["numbers"]]:
            counts = [[sum(of.get(n, (0, 0))[i] for of in told) for i in (0, 1)] for n in columns]
            every = sum(count for count, _ in counts)
            cells = (
                f"{count / every:.3f}: {100 * solved / count:.1f}" if count else "–"
                for count, solved in counts
            )
            rows.append((name, str(len(told)), *cells))
    return ("", "n", *columns[:-1], f"{MANY} or more"), rows


def _stops(arms: Arms) -> Table:
    shares = {
        name: {stop: fmean(r["numbers"]["stops"].get(stop, 0.0) for r in records) for stop in Stop}
        for name, records in arms.items()
    }
    seen = [stop for stop in Stop if any(share[stop] for share in shares.values())]
    rows: list[Sequence[str]] = [
        (name, *(f"{share[stop]:.3f}" for stop in seen)) for name, share in shares.items()
    ]
    return ("", *seen), rows


def _minutes(record: Record) -> float:
    return float(sum(one["seconds"] for one in record["trained"].values())) / 60


def _timed(record: Record) -> str:
    cores = record["cores"]
    return f"{_minutes(record):.1f}" + ("" if cores == CORES else f" (cores: {cores})")


def _made(arms: Arms) -> Iterator[Sequence[str]]:
    for name, records in arms.items():
        cells = []
        for asset in ("cold_set", "reflective_set", "rl_problems"):
            yields = [r["sets"][asset] for r in records if asset in r["sets"]]
            shown = [f"{y.get('kept', 0)} of {sum(y.values())}" for y in yields]
            cells.append(", ".join(dict.fromkeys(shown)))
        yield name, *cells, ", ".join(map(_timed, records))


def _curves(arms: Arms) -> Iterator[str]:
    """Of the last training of each arm's first repetition."""
    for name, records in arms.items():
        if not (trained := records[0]["trained"]):
            continue
        seat, last = [*trained.items()][-1]
        if curve := last["curve"]:
            names = [key for key in curve[0] if key != "step"]
            rows = [(f"{at['step']}", *(f"{at[key]:.3f}" for key in names)) for at in curve]
            yield f"{name}, its {seat.replace('_', ' ')}:\n"
            yield figures.table(("step", *names), rows) + "\n"
