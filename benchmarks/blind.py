"""A guesser that never sees a picture: it knows other questions of the same task, and their answers.

A number is guessed as the answer that would have solved most of the nearest known questions. Of
options the one is taken whose text, place, rank and mention in the question were right most often.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence

from pipeline.reward import LETTERS, Rules, mean_relative_accuracy, number

Guess = Callable[[str, Sequence[str]], str]  # of a question and its options: an answer
Known = tuple[str, Sequence[str], str]  # question, options, answer

NEAREST = 30  # known questions that vote
SMOOTHING = 6.0  # candidates' worth of chance that every trait begins with


def fitted(known: Sequence[Known]) -> Guess:
    """The guesser that has seen these questions with their answers."""
    numbers = _numbers([(question, answer) for question, options, answer in known if not options])
    choices = _choices([one for one in known if one[1]])
    return lambda question, options: (choices if options else numbers)(question, options)


def _words(question: str) -> frozenset[str]:
    """Words and numbers, and the first three words as one."""
    words = re.findall(r"[\w.]*\w", question.lower())
    return frozenset([*words, " ".join(words[:3])])


def _numbers(known: Sequence[tuple[str, str]]) -> Guess:
    texts = [(_words(question), answer) for question, answer in known]
    seen = Counter(word for words, _ in texts for word in words)
    rarity = {word: math.log(len(texts) / times) for word, times in seen.items()}

    def guess(question: str, options: Sequence[str]) -> str:
        words = _words(question)

        def weight(some: frozenset[str]) -> float:
            return math.fsum(rarity.get(word, 0.0) for word in some)  # exact, in any order

        def likeness(one: tuple[frozenset[str], str]) -> float:
            return weight(words & one[0]) / (weight(words | one[0]) or 1.0)

        votes = Counter(answer for _, answer in sorted(texts, key=likeness, reverse=True)[:NEAREST])
        return _most_solved(votes) if votes else "0"

    return guess


def _most_solved(votes: Counter[str]) -> str:
    """The answer that is near enough to most of those voted for."""
    least = Rules().solved_at
    values = {answer: number(answer) for answer in votes}

    def solves(guess: str) -> int:
        given = values[guess]
        assert given is not None
        return sum(
            times
            for answer, times in votes.items()
            if (truth := values[answer]) is not None
            and mean_relative_accuracy(given, truth) >= least
        )

    return max(sorted(votes), key=solves)


def _choices(known: Sequence[Known]) -> Guess:
    seen: Counter[str] = Counter()
    right: Counter[str] = Counter()
    chance: dict[str, float] = defaultdict(
        float
    )  # how often a trait would be right if all options were alike
    for question, options, answer in known:
        for place in range(len(options)):
            for trait in _traits(question, options, place):
                seen[trait] += 1
                right[trait] += LETTERS[place] == answer
                chance[trait] += 1 / len(options)

    def weight(trait: str) -> float:
        if not seen[trait]:
            return 0.0
        fair = chance[trait] / seen[trait]
        share = (right[trait] + SMOOTHING * fair) / (seen[trait] + SMOOTHING)
        return math.log(share / fair) - math.log((1 - share) / (1 - fair))

    def guess(question: str, options: Sequence[str]) -> str:
        places = range(len(options))
        best = max(places, key=lambda n: sum(map(weight, _traits(question, options, n))))
        return LETTERS[best]

    return guess


def _traits(question: str, options: Sequence[str], place: int) -> Iterator[str]:
    """What may make an option more or less likely, on its own and for this kind of question."""
    values = [number(option) for option in options]
    words, opening = question.lower().split(), " ".join(question.lower().split()[:3])
    own = options[place].lower().split()
    mentioned = sum(word.strip(".,?:") in own for word in words)
    traits = [f"is {options[place]}", f"at {place} of {len(options)}", f"mentioned {mentioned}"]
    if None not in values:
        rank = sum(value < values[place] for value in values)  # type: ignore[operator]
        traits.append(f"rank {rank} of {len(options)}")
    for trait in traits:
        yield trait
        yield f"{trait} in {opening}"
