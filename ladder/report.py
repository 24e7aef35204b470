"""docs/ladder.md from the records: what was measured, and what was looked for beside it.

Differences are paired by problem: of each problem its share of solved samples, mean over the
repetitions that both arms have. Intervals resample problems; repetitions are few, and shown singly.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean

from ladder.arms import ARMS
from ladder.measure import Record
from pipeline import figures
from pipeline.types import Stop
from trainers.bootstrap import Interval, difference, interval, pass_at

DRAWS = 10_000
Arms = Mapping[str, Sequence[Record]]  # by name; repetitions in order
Table = tuple[Sequence[str], list[Sequence[str]]]  # its head, and its rows

BASE, COLD, REFLECTIVE = "base", "cold", "cold + reflective"
GRPO, NO_REFLECTION = "cold + reflective + GRPO", "cold + GRPO"
OTHER = "Qwen3-VL:"  # arms of another family, which are asked other problems
HEAD = """# The ladder

What each stage of the recipe adds to the tiny base, on problems that no stage saw. Made by `make ladder`
from the version `ladder` ({about}).
Nothing in it was chosen by looking at these problems.
Accuracy, drawing and reflection are at temperature 1: {samples} samples of each of {problems} problems,
and one more for greedy. Measured {dates} on {machines}.

"""


def report(records: Sequence[Record], about: str) -> str:
    """Markdown. Arms that have not been measured are named."""
    found = {record["arm"] for record in records}
    arms: Arms = {
        arm.name: sorted(
            (r for r in records if r["arm"] == arm.name), key=lambda r: int(r["repetition"])
        )
        for arm in ARMS
        if arm.name in found
    }
    first, dates = records[0], [record["date"] for record in records]
    parts = [
        HEAD.format(
            about=about,
            dates=" to ".join(dict.fromkeys((min(dates), max(dates)))),
            machines="; ".join(sorted({record["machine"] for record in records})),
            samples=first["samples"],
            problems=len(first["solved"]),
        ),
        "## Arms\n",
        figures.table(*_arms(arms)),
        f"\n{_missing(arms)}\n## What was looked for\n",
        figures.table(("", "looked for", "seen", ""), [*_looked_for(arms)]),
        "\n## Differences in accuracy, in points, paired by problem\n",
        figures.table(("", "difference", "repetitions"), [*_differences(arms)]),
        "\n## pass@8 and pass@1, on 200 problems\n",
        figures.table(("", "pass@1", "pass@8", "gap"), [*_passes(arms)]),
        "\n## By task and by kind of answer\n",
        figures.table(*_breakdown(arms)),
        "\n## How rollouts end\n",
        figures.table(*_stops(arms)),
        "\n## The sets, and what training took\n",
        figures.table(("", "cold set", "reflective set", "RL problems", "minutes"), [*_made(arms)]),
        "\n## Trainings\n",
        *_curves(arms),
    ]
    return "\n".join(parts)


def _rates(records: Sequence[Record]) -> list[float]:
    """Of each problem its share of solved samples, mean over repetitions."""
    each = [[n / r["samples"] for n in r["solved"]] for r in records]
    return [fmean(values) for values in zip(*each, strict=True)]


def _mean(records: Sequence[Record], name: str) -> float:
    return fmean(record["numbers"][name] for record in records)


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
        f"{arm.name} ({len(arm.repetitions) - len(arms.get(arm.name, ()))})"
        for arm in ARMS
        if len(arms.get(arm.name, ())) < len(arm.repetitions)
    ]
    return f"Not measured yet (repetitions): {'; '.join(gone)}.\n" if gone else ""


def _points(found: Interval, sign: str = "") -> str:
    mean, low, high = (100 * value for value in found)
    return f"{mean:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}]"


def _paired(arms: Arms, ours: str, theirs: str) -> tuple[Interval, int] | None:
    """The difference over the repetitions that both have, and how many they are."""
    both = [{int(r["repetition"]): r for r in arms.get(name, ())} for name in (ours, theirs)]
    shared = sorted(both[0].keys() & both[1].keys())
    if not shared:
        return None
    mine, other = ([side[n] for n in shared] for side in both)
    return difference(_rates(mine), _rates(other), DRAWS), len(shared)


# What was looked for -----------------------------------------------------------------------------


def _looked_for(arms: Arms) -> Iterator[Sequence[str]]:
    for said, wanted, ours, theirs, least, above in (
        ("GRPO over cold", "at least +10, interval above 0", GRPO, COLD, 0.10, True),
        ("reflective against cold", "no worse than −3", REFLECTIVE, COLD, -0.03, False),
    ):
        if (found := _paired(arms, ours, theirs)) is not None:
            gap = found[0]
            held = gap.mean >= least and (gap.low > 0 or not above)
            short = f"short by {100 * (least - gap.mean):.1f}" if gap.mean < least else "interval"
            yield said, wanted, _points(gap, "+"), "holds" if held else short
    for said, wanted, ours, theirs, name, holds in CHANGES:
        if not (arms.get(ours) and arms.get(theirs)):
            continue
        now, before = _mean(arms[ours], name), _mean(arms[theirs], name)
        share = f" ({100 * (now / before - 1):+.0f} %)" if before else ""
        seen = f"{before:.3f} → {now:.3f}{share}"
        yield said, wanted, seen, "holds" if holds(now, before) else "does not hold"
    gaps = {name: _gap(arms[name]) for name in (REFLECTIVE, GRPO) if _wide(arms, name)}
    if len(gaps) == 2:
        before, now = gaps[REFLECTIVE][2], gaps[GRPO][2]
        seen = f"{100 * before:.1f} → {100 * now:.1f} points"
        verdict = "holds" if now < before else "does not hold"
        yield "pass@8 − pass@1 after GRPO", "narrower", seen, verdict
    yield from _kinds(arms)


def _down(now: float, before: float) -> bool:
    return now < before


def _up(now: float, before: float) -> bool:
    return now > before


Holds = Callable[[float, float], bool]
# (what, what was looked for, ours, theirs, number, whether it holds); the last six are the paper's
CHANGES: tuple[tuple[str, str, str, str, str, Holds], ...] = (
    ("`strict` reflection, cold → reflective", "at least doubled", REFLECTIVE, COLD, "strict",
     lambda now, before: now >= 2 * before),
    ("S_draw, reflective → GRPO", "no lower", GRPO, REFLECTIVE, "draw",
     lambda now, before: now >= before),
    ("needless boxes, reflective → GRPO", "fewer", GRPO, REFLECTIVE, "needless", _down),
    ("`paper` reflection, without the reflective stage", "−96 %", NO_REFLECTION, GRPO, "paper", _down),
    ("turns, without the reflective stage", "−34 %", NO_REFLECTION, GRPO, "turns", _down),
    ("boxes, without the reflective stage", "−85 %", NO_REFLECTION, GRPO, "boxes", _down),
    ("lines, without the reflective stage", "+71 %", NO_REFLECTION, GRPO, "lines", _up),
    ("accuracy, without the reflective stage", "within a point", NO_REFLECTION, GRPO, "solved",
     lambda now, before: abs(now - before) <= 0.01),
    ("boxes, without RL", "+159 %", REFLECTIVE, GRPO, "boxes", _up),
)  # fmt: skip


def _kinds(arms: Arms) -> Iterator[Sequence[str]]:
    """The paper's: without RL numbers lose more than choices."""
    if not (arms.get(REFLECTIVE) and arms.get(GRPO)):
        return
    lost = {}
    for kind, paper in (("number", "−9 points"), ("choice", "−4 points")):
        now, before = (
            fmean(r["numbers"]["kind"][kind] for r in arms[name]) for name in (REFLECTIVE, GRPO)
        )
        lost[kind] = now - before
        held = "holds" if now < before else "does not hold"
        yield f"{kind} answers, without RL", paper, f"{100 * lost[kind]:+.1f} points", held


# Tables ------------------------------------------------------------------------------------------


def _differences(arms: Arms) -> Iterator[Sequence[str]]:
    same = [name for name in arms if OTHER not in name]
    pairs = [(name, COLD) for name in same if name != COLD]
    pairs += [
        (name, REFLECTIVE) for name in same if "GRPO" not in name and name not in (COLD, BASE)
    ]
    pairs += [(name, GRPO) for name in same if "GRPO" in name]
    pairs += [(GRPO, REFLECTIVE), (f"{OTHER} {GRPO}", f"{OTHER} {COLD}")]
    pairs = [(ours, theirs) for ours, theirs in pairs if ours != theirs]
    for ours, theirs in pairs:
        if (found := _paired(arms, ours, theirs)) is not None:
            yield f"{ours} − {theirs}", _points(found[0], "+"), str(found[1])


def _wide(arms: Arms, name: str) -> bool:
    return any("wide" in record for record in arms.get(name, ()))


def _gap(records: Sequence[Record]) -> tuple[float, float, float]:
    """pass@1, pass@8 and their gap."""
    tries = [solved for record in records if "wide" in record for solved in record["wide"]]
    one, eight = fmean(n / 8 for n in tries), fmean(pass_at(8, n, 8) for n in tries)
    return one, eight, eight - one


def _passes(arms: Arms) -> Iterator[Sequence[str]]:
    for name in arms:
        if _wide(arms, name):
            yield name, *(f"{100 * value:.1f}" for value in _gap(arms[name]))


def _breakdown(arms: Arms) -> Table:
    some = next(iter(arms.values()))[0]["numbers"]
    columns = [(by, value) for by in ("task", "kind") for value in some[by]]
    rows: list[Sequence[str]] = []
    for name, records in arms.items():
        shares = [fmean(r["numbers"][by][value] for r in records) for by, value in columns]
        rows.append((name, *(f"{100 * share:.1f}" for share in shares)))
    return ("", *(value for _, value in columns)), rows


def _stops(arms: Arms) -> Table:
    shares = {
        name: {
            stop: fmean(r["numbers"]["stops"].get(stop, 0.0) for r in records) for stop in Stop
        }
        for name, records in arms.items()
    }  # fmt: skip
    seen = [stop for stop in Stop if any(share[stop] for share in shares.values())]
    rows: list[Sequence[str]] = [
        (name, *(f"{share[stop]:.3f}" for stop in seen)) for name, share in shares.items()
    ]
    return ("", *seen), rows


def _made(arms: Arms) -> Iterator[Sequence[str]]:
    for name, records in arms.items():
        cells = []
        for asset in ("cold_set", "reflective_set", "rl_problems"):
            yields = [r["sets"][asset] for r in records if asset in r["sets"]]
            shown = [f"{y.get('kept', 0)} of {sum(y.values())}" for y in yields]
            cells.append(", ".join(dict.fromkeys(shown)))
        minutes = [f"{sum(r['made_from'].values()) / 60:.0f}" for r in records]
        yield name, *cells, ", ".join(minutes)


def _curves(arms: Arms) -> Iterator[str]:
    for name, records in arms.items():
        for record in records[:1]:
            if not record["curve"]:
                continue
            names = [key for key in record["curve"][0] if key != "step"]
            rows = [
                (f"{line['step']}", *(f"{line[key]:.3f}" for key in names))
                for line in record["curve"]
            ]
            yield f"{name}, first repetition:\n"
            yield figures.table(("step", *names), rows) + "\n"
