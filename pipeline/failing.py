"""A stop where too much fails: a server that is gone must not use up a whole set of problems."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from pipeline.types import Failure, Trajectory

Runs = AsyncGenerator[Trajectory | Failure, None]


class TooManyFailures(Exception):
    """More of the trajectories failed than a version allows."""


async def within(runs: Runs, most: float, after: int) -> Runs:
    """The same runs, as long as not more than a share ``most`` of them are failures.

    Args:
        after: how many there must be before they are judged.

    Raises:
        TooManyFailures: with the last reason, and how to go on.
    """
    count = failed = 0
    async with aclosing(runs):
        async for run in runs:
            yield run
            count += 1
            if isinstance(run, Failure):
                failed += 1
                if count >= after and failed > most * count:
                    raise TooManyFailures(
                        f"{failed} of {count} trajectories failed, more than the {most:.0%} that "
                        f"failures.most allows; the last: {run.reason}. Every turn that came is "
                        "kept. Mend it, then `drawloop build --retry-failed`, or in the launchpad "
                        "retry_failed"
                    )
