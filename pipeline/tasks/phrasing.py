"""How the tasks ask: phrasings to choose from, and options in balanced order."""

from collections.abc import Sequence
from random import Random

from pipeline.tasks import Wording

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def say(rng: Random, wording: Wording, phrasings: Sequence[str], **facts: object) -> str:
    """One of the phrasings, filled in. ``plain`` takes the first, and draws nothing from ``rng``."""
    phrasing = phrasings[0] if wording == "plain" else rng.choice(phrasings)
    return phrasing.format(**facts)


def lettered(rng: Random, right: str, wrong: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Shuffled options and the letter of the right one: every letter is equally likely."""
    options = list(wrong)
    rng.shuffle(options)
    place = rng.randrange(len(options) + 1)
    options.insert(place, right)
    if len(set(options)) != len(options):
        raise ValueError(f"options are not unique: {options}")
    return tuple(options), LETTERS[place]


def near_numbers(rng: Random, right: int, count: int, low: int = 0) -> list[str]:
    """``count`` distinct wrong numbers around the right one, none below ``low``.

    How many lie below it is drawn first, so that the right one is no more often in the middle.
    """
    below = rng.randint(0, count)
    smaller = list(range(right - 1, max(low, right - 3) - 1, -1))
    wrong = rng.sample(smaller, min(below, len(smaller)))
    larger = range(right + 1, right + 4 + count)
    wrong += rng.sample(list(larger)[: count + 1], count - len(wrong))
    return [str(n) for n in wrong]


def number_to_ask(rng: Random, scale: Sequence[int]) -> tuple[int, tuple[str, ...], str]:
    """A number of the scale, drawn before the scene is made to fit it; its options, and the answer.

    Half the time there are no options. Else they are four neighbours on the scale, of which each is
    as likely to be the right one.
    """
    if rng.random() < 0.5:
        right = rng.choice(scale)
        return right, (), str(right)
    start = rng.randint(0, max(0, len(scale) - 4))
    near = list(scale[start : start + 4])
    right = near.pop(rng.randrange(len(near)))
    return right, *lettered(rng, str(right), [str(n) for n in near])


def plural(noun: str, count: int) -> str:
    return noun if count == 1 else noun + "s"


def listed(items: Sequence[str], word: str = "and") -> str:
    """ "a", "a and b", "a, b and c"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {word} {items[-1]}"
