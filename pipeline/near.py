"""Near-duplicates: the same question on the same picture, saved again, scaled, toned or cut a little.

`problems.fingerprints` finds exact copies; this finds those that differ in what does not matter.

Two problems are near when their pictures are, one by one in order, *and* their questions are: the
same picture asked something else is another problem, and so is the same question on another
picture. Between two drawn scenes of one task the generator's own numbers decide instead, as they
know more than any hash: near means equal geometry, whatever the wording.

A picture's hash is 64 bits of structure and 64 of colour, both signs of its lowest frequencies
under a discrete cosine transform, as in pHash (Zauner, "Implementation and benchmarking of
perceptual image hash functions", 2010). It differs from pHash in that small coefficients count as
zero instead of falling on either side by chance, as they would in symmetric and in grey pictures.
Bits are looked up in bands, as in multi-index hashing (Norouzi, Punjani and Fleet, CVPR 2012).

Guarantees: `Index.find` misses nothing that is near, and answers with what was added first.
Does not: see two wordings of one question that share few words, or pictures that were mirrored or
turned; it may take a picture in which one small thing has changed for the same. A picture on which
thousands of questions are asked is compared with all of them.
`benchmarks/near.py` measures all of this, and the tolerances come from it.
"""

import hashlib
import re
import unicodedata
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import combinations, pairwise

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.images import Pixels, decode
from pipeline.tasks import TASKS
from pipeline.types import KEPT, Problem, Verdict

SIDE = 64  # px, of the small picture that is transformed
DEAD = 0.25  # of a picture's typical coefficient: what is smaller counts as zero
FAINT = 16.0  # a coefficient that is smaller in any picture: about half a level of 255, if alone
TINTED = 8.0  # levels by which the mean colour must leave grey to count
BANDS, WIDTH = 4, 16  # of structure: bands, and bits of a band
MASK = (1 << WIDTH) - 1
WORD = re.compile(r"-?\d+(?:[.,]\d+)*|[^\W\d_]+|[-+<>=≤≥%]")
ASPECT = 1.25  # by which the aspects of near pictures may differ: cut, or put on the patch grid
LEAST = 0.5  # of the longer question's shingles: a shorter question is another one


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far apart near problems may be."""

    structure: int  # bits of 63, in each picture
    colour: int  # bits of 64, in each picture
    question: float  # of the shorter question's shingles that the longer one has too


# Among one's own problems: what gives the best F1 on the calibrating half of the benchmark.
CLOSE = Tolerance(structure=3, colour=8, question=1.0)
# Against an evaluation, as a problem dropped for nothing costs little, and one that leaks costs the
# claim: fewer than 1 in 1,000 pairs of other scenes are near on the calibrating half, and one bit of
# structure more would make each look-up eight times as long.
WIDE = Tolerance(structure=7, colour=8, question=0.9)


@dataclass(frozen=True, slots=True)
class Signature:
    """What of a problem is compared."""

    pictures: tuple[tuple[int, int], ...]  # structure and colour of each, 64 bits
    question: str  # normalised
    aspect: float = 1.0  # width by height of the first picture
    task: str = ""  # of a drawn scene, else empty
    scene: int = 0  # 64 bits of the task's name and the scene's geometry


@dataclass(frozen=True, slots=True)
class Near:
    """The problem that was found, and how far it is."""

    id: str
    structure: int  # bits, of the pictures that differ most
    colour: int
    question: float  # 0..1

    @property
    def detail(self) -> str:
        return (
            f"{self.id}: pictures {self.structure} bits of structure and {self.colour} of colour "
            f"away, questions {self.question:.2f} alike"
        )


# Signatures --------------------------------------------------------------------------------------


def signature(problem: Problem) -> Signature:
    """Of a problem with its pictures' bytes.

    Raises:
        ValueError: if it has no picture, or one without bytes.
    """
    signed = sign([decode(image) for image in problem.images], problem.question)
    if problem.task not in TASKS or problem.scene is None or not problem.scene.geometry:
        return signed
    fact = f"{problem.task}/{problem.scene.geometry}".encode()
    scene = int.from_bytes(hashlib.blake2b(fact, digest_size=8).digest())
    return replace(signed, task=problem.task, scene=scene)


def sign(pictures: Sequence[Pixels], question: str) -> Signature:
    """Of pictures (height, width, 3) RGB and a question from anywhere.

    Raises:
        ValueError: without a picture.
    """
    if not pictures:
        raise ValueError("a problem without a picture has no signature")
    height, width = pictures[0].shape[:2]
    hashes = tuple(picture_hash(pixels) for pixels in pictures)
    return Signature(hashes, words(question), width / height)


def picture_hash(pixels: Pixels) -> tuple[int, int]:
    """Structure and colour of a picture (height, width, 3) RGB, 64 bits each.

    Structure: which of the 8 × 8 lowest frequencies of its brightness are clearly positive, its
    mean left out. Colour: which of the 4 × 4 lowest frequencies of both chroma channels are clearly
    positive, and which clearly negative.
    """
    planes = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2YCrCb).astype(np.float32)
    small = cv2.resize(planes, (SIDE, SIDE), interpolation=cv2.INTER_AREA) - 128
    brightness, red, blue = (np.asarray(cv2.dct(plane), np.float32) for plane in cv2.split(small))
    colour = np.concatenate([_signs(red, 4).ravel(), _signs(blue, 4).ravel()])
    return _bits(_signs(brightness, 8)[0]), _bits(colour)


def _signs(coefficients: npt.NDArray[np.float32], side: int) -> npt.NDArray[np.bool_]:
    """(2, side²) of the lowest coefficients: clearly positive, clearly negative."""
    lowest = coefficients[:side, :side].ravel()
    typical = float(np.sqrt(np.mean(lowest[1:] ** 2)))
    bound = np.full(side * side, max(DEAD * typical, FAINT))
    bound[0] = TINTED * SIDE if side == 4 else np.inf
    return np.stack([lowest > bound, lowest < -bound])


def _bits(flags: npt.NDArray[np.bool_]) -> int:
    return int.from_bytes(np.packbits(flags).tobytes())


def words(question: str) -> str:
    """The words, numbers and signs of a question, one space between them."""
    return " ".join(WORD.findall(unicodedata.normalize("NFKC", question).casefold()))


def alike(first: str, second: str) -> float:
    """How much of the shorter of two normalised questions the longer one says too, 0..1.

    Compared are words and pairs of neighbours, so that "the cup left of the jug" is not "the jug
    left of the cup". What is added does not count, such as a hint how to answer, until it is as
    long as the question; what is exchanged does.
    """
    shorter, longer = sorted((_shingles(first), _shingles(second)), key=len)
    if not longer:
        return 1.0
    if len(shorter) < LEAST * len(longer):
        return 0.0
    return len(shorter & longer) / len(shorter)


@lru_cache(maxsize=4096)
def _shingles(question: str) -> frozenset[str]:
    said = question.split()
    return frozenset([*said, *(f"{a} {b}" for a, b in pairwise(said))])


# Index -------------------------------------------------------------------------------------------


class _Chains:
    """Entries by a key of 16 bits, in two flat arrays: who came last, and who came before whom."""

    def __init__(self) -> None:
        self._last = array("i", [-1]) * (1 << WIDTH)
        self.before = array("i")

    def append(self, key: int) -> None:
        """Files the next entry."""
        self.before.append(self._last[key])
        self._last[key] = len(self.before) - 1

    def at(self, key: int) -> Iterator[int]:
        n = self._last[key]
        while n >= 0:
            yield n
            n = self.before[n]


class Index:
    """Signatures by id, in some 65 bytes a problem of one picture, beside its id and question.

    A look-up tries, in each of four bands of 16 bits of the first picture's structure, every key
    within a quarter of the tolerance: of bits no more than the tolerance some band has no more than
    that. So it looks at about 1 of 1,000 entries, and misses none.

    Args:
        question: whether the question must be near as well. Without, any two problems on near
            pictures are near, drawn scenes too: the strictest reading of what an evaluation knows.
    """

    def __init__(self, tolerance: Tolerance = CLOSE, *, question: bool = True) -> None:
        self.tolerance = tolerance
        self.question = question
        self._ids: list[str] = []
        self._first = array("Q")  # where an entry's pictures begin
        self._structure, self._colour = array("Q"), array("Q")  # of pictures
        self._aspect = array("f")
        self._scene, self._task, self._asked = array("Q"), array("I"), array("I")
        self._tasks: dict[str, int] = {"": 0}
        self._questions: dict[str, int] = {}
        self._texts: list[str] = []
        self._bands = [_Chains() for _ in range(BANDS)]
        self._scenes = _Chains()

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def bytes(self) -> int:
        """What the flat arrays hold, without 1.3 MB of empty buckets, ids and questions."""
        flat = [value for value in vars(self).values() if isinstance(value, array)]
        flat += [chain.before for chain in (*self._bands, self._scenes)]
        return sum(len(one) * one.itemsize for one in flat)

    def add(self, problem_id: str, signature: Signature) -> None:
        """Keeps a signature; `find` looks at it from now on."""
        self._ids.append(problem_id)
        self._first.append(len(self._structure))
        for structure, colour in signature.pictures:
            self._structure.append(structure)
            self._colour.append(colour)
        self._aspect.append(signature.aspect)
        self._scene.append(signature.scene)
        self._task.append(self._tasks.setdefault(signature.task, len(self._tasks)))
        asked = self._questions.setdefault(signature.question, len(self._texts))
        if asked == len(self._texts):
            self._texts.append(signature.question)
        self._asked.append(asked)
        for band, key in zip(self._bands, _keys(signature.pictures[0][0]), strict=True):
            band.append(key)
        self._scenes.append(signature.scene & MASK)

    def find(self, signature: Signature) -> Near | None:
        """The one added first of all that are near, with its distances; None if none is."""
        for n in sorted(self._candidates(signature)):
            if (near := self._near(n, signature)) is not None:
                return near
        return None

    def _candidates(self, signature: Signature) -> set[int]:
        """Entries whose first picture is near; those of the same drawn scene."""
        structure, most = signature.pictures[0][0], self.tolerance.structure
        found = {
            n
            for n in self._looked_at(structure)
            if (self._structure[self._first[n]] ^ structure).bit_count() <= most
        }
        if signature.task:
            found.update(self._scenes.at(signature.scene & MASK))
        return found

    def _looked_at(self, structure: int) -> Iterator[int]:
        """Entries of which some band is near, once for each such band."""
        for band, key in zip(self._bands, _keys(structure), strict=True):
            for flip in _flips(self.tolerance.structure // BANDS):
                yield from band.at(key ^ flip)

    def _near(self, n: int, signature: Signature) -> Near | None:
        first = self._first[n]
        after = self._first[n + 1] if n + 1 < len(self) else len(self._structure)
        if after - first != len(signature.pictures):
            return None
        pairs = list(zip(range(first, after), signature.pictures, strict=True))
        near = Near(
            self._ids[n],
            max((self._structure[at] ^ structure).bit_count() for at, (structure, _) in pairs),
            max((self._colour[at] ^ colour).bit_count() for at, (_, colour) in pairs),
            alike(self._texts[self._asked[n]], signature.question),
        )
        same_task = signature.task != "" and self._task[n] == self._tasks.get(signature.task)
        if same_task and (self.question or self._scene[n] == signature.scene):
            return near if self._scene[n] == signature.scene else None
        stretch = self._aspect[n] / signature.aspect
        return near if 1 / ASPECT <= stretch <= ASPECT and self._within(near) else None

    def _within(self, near: Near) -> bool:
        return (
            near.structure <= self.tolerance.structure
            and near.colour <= self.tolerance.colour
            and (not self.question or near.question >= self.tolerance.question)
        )


def _keys(structure: int) -> list[int]:
    return [structure >> WIDTH * band & MASK for band in range(BANDS)]


@cache
def _flips(radius: int) -> tuple[int, ...]:
    """Every mask of a band with up to ``radius`` bits set."""
    return tuple(
        sum(1 << bit for bit in bits)
        for count in range(radius + 1)
        for bits in combinations(range(WIDTH), count)
    )


# Verdicts ----------------------------------------------------------------------------------------


def unless_near(index: Index, problem_id: str, signature: Signature) -> Verdict:
    """Keeps a problem and adds it, unless one that was kept before is near: in order of ids, the
    smallest stays."""
    near = index.find(signature)
    if near is not None:
        return Verdict(False, "near_duplicate", near.detail)
    index.add(problem_id, signature)
    return KEPT


def unless_contaminated(evaluation: Index, signature: Signature) -> Verdict:
    """Keeps a problem unless one of an evaluation set is near; best asked of an `Index(WIDE)`, which
    is left as it is."""
    near = evaluation.find(signature)
    return KEPT if near is None else Verdict(False, "contaminated", near.detail)
