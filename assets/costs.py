"""What a version takes, and what an asset took, as the command line prints it."""

from collections.abc import Sequence
from typing import Any

from assets.terminal import size
from pipeline.measuring import Estimate, Measured
from pipeline.plan import StagePlan
from pipeline.progress import duration


def planned_table(lines: Sequence[StagePlan]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and lines of what a version will take, as it is reckoned."""
    head = (
        "stage", "policy", "problems", "trajectories", "model tokens", "context tokens", "pictures",
        "storage",
    )  # fmt: skip
    return head, [
        (
            line.stage, line.policy, f"{line.problems:,}", f"{line.trajectories:,}",
            f"{line.model_tokens:,}", f"{line.context_tokens:,}", f"{line.pictures:,}",
            size(line.bytes),
        )
        for line in lines
    ]  # fmt: skip


def spent(line: dict[str, Any]) -> str:
    """What an asset of trajectories was sampled with."""
    took = line["spent"]
    paid, replayed, vain = (took[side] for side in ("paid", "replayed", "in_vain"))
    told = (
        f"{line['asset']}: {paid['turns']:,} turns asked, {replayed['turns']:,} replayed, "
        f"{vain['turns']:,} in vain; {paid['prompt_tokens']:,} prompt tokens "
        f"({paid['cached_tokens']:,} cached), {paid['completion_tokens']:,} written, "
        f"{took['tokens_per_second']:,.0f}/s; {paid['requests']:,} requests, "
        f"{paid['retries']:,} retries"
    )
    if "cost" in took:
        told += f"; cost {took['cost']:,.4f}, of {took['cost'] + took['cost_replayed']:,.4f} in all"
    return told


def measured_table(lines: Sequence[Measured]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and lines of what a few problems took, for all of each stage, give or take."""
    head = (
        "measured", "policy", "trajectories", "of", "failed", "prompt tokens", "written tokens",
        "time", "cost",
    )  # fmt: skip
    return head, [
        (
            line.seat, line.policy, f"{line.trajectories:,}", f"{line.measured}", f"{line.failed}",
            _give_or_take(line.prompt_tokens), _give_or_take(line.completion_tokens),
            f"{duration(line.seconds.total)} ± {duration(line.seconds.spread)}",
            "–" if line.cost is None else f"{line.cost.total:,.2f} ± {line.cost.spread:,.2f}",
        )
        for line in lines
    ]  # fmt: skip


def _give_or_take(estimate: Estimate) -> str:
    return f"{estimate.total:,.0f} ± {estimate.spread:,.0f}"
