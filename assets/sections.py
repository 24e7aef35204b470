"""A diff as sections to read in a terminal: what differs, and how much is the same."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from assets.diff import Diff, Fate, SetDiff
from pipeline.compare import Distribution, Flows, Met
from pipeline.version_files import NAME

WIDEST = 48  # characters of a value
FIELDS = 3  # of a recipe, and values of a distribution, that are told of one line
COUNTED = ("only_a", "only_b", "both", "left")
SAME = 0.0005  # distance up to which two distributions are told as one


class Section(NamedTuple):
    title: str
    head: tuple[str, ...] = ()
    lines: Sequence[tuple[str, ...]] = ()
    notes: Sequence[str] = ()


def sections(diff: Diff) -> Iterator[Section]:
    if diff.same:
        yield Section(f"{diff.a} and {diff.b} are the same: every field, and every asset.")
        return
    yield Section(f"A is {diff.a}, B is {diff.b}.")
    yield _configuration(diff)
    yield _assets(diff)
    yield from _problems(diff.problems)
    for told in diff.sets:
        yield _set(told)
    if diff.distributions:
        yield _distributions(diff.distributions)


def _configuration(diff: Diff) -> Section:
    lines = [(change.path, _value(change.a), _value(change.b)) for change in diff.configuration]
    return Section(
        "Configuration",
        ("field", "A", "B"),
        lines,
        [f"Other fields, the same of both: {diff.fields_alike}."],
    )


def _value(value: Any) -> str:
    said = "–" if value is None else value if isinstance(value, str) else json.dumps(value)
    return said if len(said) <= WIDEST else said[: WIDEST - 1] + "…"


def _assets(diff: Diff) -> Section:
    fates = diff.assets
    lines = [
        (fate.asset, _rows(fate.rows_a), _rows(fate.rows_b), _why(fate))
        for fate in fates
        if not fate.shared
    ]
    shared = [fate.asset for fate in fates if fate.shared]
    notes = [f"Shared by both, {len(shared)}: {', '.join(shared)}."] if shared else []
    notes += _missing(diff)
    return Section("Assets, and the rows that they kept", ("asset", "A", "B", "why"), lines, notes)


def _missing(diff: Diff) -> Iterator[str]:
    """What is not built of a side and so not compared; what makes it, if the side is a version."""
    fates = diff.assets
    a = {fate.asset for fate in fates if fate.rows_a is None}
    b = {fate.asset for fate in fates if fate.rows_b is None}
    for whose, which in (("neither", a & b), ("A alone", b - a), ("B alone", a - b)):
        if which:
            named = ", ".join(fate.asset for fate in fates if fate.asset in which)
            yield f"Built of {whose}, and so not compared: {named}."
    for side, name, lacks in (("A", diff.a, a - b), ("B", diff.b, b - a)):
        if lacks and NAME.fullmatch(name):
            yield f"`drawloop build {name}` makes what {side} lacks."


def _rows(count: int | None) -> str:
    return "not built" if count is None else f"{count:,}"


def _why(fate: Fate) -> str:
    paths = [change.path for change in fate.decided]
    more = [f"{len(paths) - FIELDS} more"] if len(paths) > FIELDS else []
    causes = [*paths[:FIELDS], *more]
    if fate.inputs:
        causes.append(f"reads {', '.join(fate.inputs)}")
    return "; ".join(causes) + (" (equal contents)" if fate.equal else "")


def _problems(met: Sequence[Met]) -> Iterator[Section]:
    if not met:
        return
    both, moved = sum(m.both for m in met), sum(m.left for m in met)
    notes = [f"Scenes in the same split of both: {both:,}; in different splits: {moved:,}."]
    for by in ("split", "task"):
        head = (by, "only in A", "only in B", "in both", "A's in another split of B")
        lines = [
            (name, *(f"{sum(getattr(m, field) for m in group):,}" for field in COUNTED))
            for name, group in _grouped(met, by)
            if any(m.only_a or m.only_b or m.left or m.came for m in group)
        ]
        yield Section(f"Problems by {by}", head, lines, notes if by == "split" else ())


def _grouped(met: Iterable[Met], by: str) -> list[tuple[str, list[Met]]]:
    groups: dict[str, list[Met]] = {}
    for one in met:
        groups.setdefault(getattr(one, by), []).append(one)
    return list(groups.items())


def _set(told: SetDiff) -> Section:
    order = dict.fromkeys(("kept", *told.a, *told.b))
    numbers = [(name, told.a.get(name, 0), told.b.get(name, 0)) for name in order]
    lines = [
        (name, f"{a:,}", f"{b:,}", _signed(b - a))
        for name, a, b in numbers
        if a != b or name == "kept"
    ]
    title = f"{told.name}: {sum(told.a.values()):,} of A came in, {sum(told.b.values()):,} of B"
    rest = len(order) - len(lines)
    notes = [f"Other reasons that dropped as many of both: {rest}."] if rest else []
    return Section(title, ("", "A", "B", "B − A"), lines, [*notes, *_flows(told.judged)])


def _flows(judged: Flows) -> Iterator[str]:
    if not judged.both:
        yield "No row came into both."
        return
    alike = judged.both - sum(flow.count for flow in judged.changed)
    yield (
        f"{judged.both:,} rows came into both, {judged.only_a:,} into A alone, {judged.only_b:,} into "
        f"B alone. Of both, {alike:,} are judged alike."
    )
    for flow in judged.changed:
        yield f"  {flow.a} → {flow.b}: {flow.count:,}, as {', '.join(flow.examples)}"


def _signed(number: int) -> str:
    return f"{number:+,}".replace("-", "−") if number else "0"


def _distributions(found: Sequence[Distribution]) -> Section:
    apart = [d for d in found if d.distance > SAME]
    lines = [
        (
            f"{d.distance:.2f}", f"{d.chance:.2f}", d.of, d.what, f"{d.count_a:,}",
            f"{d.count_b:,}", _contrast(d),
        )
        for d in apart
    ]  # fmt: skip
    head = ("distance", "by chance", "of", "what", "count A", "count B", "A → B")
    return Section(
        "Distributions",
        head,
        lines,
        [
            f"Other distributions, the same of both: {len(found) - len(apart)}.",
            "Distance: from 0, the same, to 1, nothing in common: total variation, or of numbers the",
            "largest gap of cumulative shares. By chance: about what two samples of one mix are apart.",
        ],
    )


def _contrast(told: Distribution) -> str:
    if told.numbers:
        return ", ".join(
            f"{name} {_figure(told.a.get(name))} → {_figure(told.b.get(name))}"
            for name in ("mean", "median")
        )
    moves = _moves(told.a, told.b)
    said = [
        f"{name} {told.a.get(name, 0):.0%} → {told.b.get(name, 0):.0%}" for name in moves[:FIELDS]
    ]
    more = [f"{len(moves) - FIELDS} more"] if len(moves) > FIELDS else []
    return ", ".join([*said, *more])


def _moves(a: Mapping[str, float], b: Mapping[str, float]) -> list[str]:
    """The values whose shares differ, those that differ most first."""
    moved = {name: abs(b.get(name, 0) - a.get(name, 0)) for name in (*a, *b)}
    return sorted((name for name in moved if moved[name] > SAME), key=lambda n: (-moved[n], n))


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
