"""How `occlusion` asks, and how its gold solution thinks aloud."""

COVERING = {
    "over": (
        "How many figures are partly hidden by the {first}?",
        "Of how many figures does the {first} cover a part?",
        "Count the figures that reach under the {first}.",
        "The {first} hides a part of how many other figures?",
        "How many figures lie partly beneath the {first}?",
    ),
    "under": (
        "How many figures hide a part of the {first}?",
        "By how many figures is the {first} partly covered?",
        "Count the figures that lie over a part of the {first}.",
        "How many figures are in front of the {first} and cover a part of it?",
        "A part of the {first} is hidden by how many other figures?",
    ),
}
WHICH = {
    "over": (
        "Which of these is partly hidden by the {first}?",
        "The {first} covers a part of one of these. Which one?",
        "Which one reaches under the {first}?",
        "Of which of these does the {first} hide a part?",
        "One of these lies partly beneath the {first}. Which one is it?",
    ),
    "under": (
        "Which of these hides a part of the {first}?",
        "The {first} is partly covered by one of these. Which one?",
        "Which one lies over a part of the {first}?",
        "By which of these is a part of the {first} hidden?",
        "One of these is in front of the {first} and covers a part of it. Which one is it?",
    ),
}
HIDDEN = (
    "How many figures are partly hidden by others?",
    "Count the figures of which another covers a part.",
    "How many figures can be seen only in part?",
    "Of how many figures is some part out of sight behind another figure?",
    "What is the number of figures that others cover in part?",
)
ENTIRE = (
    "How many figures are seen whole, with no other over them?",
    "Count the figures that no other figure covers.",
    "How many figures have nothing in front of them?",
    "Of how many figures can every part be seen?",
    "What is the number of figures that no other one hides even in part?",
)
TOTAL = (
    "How many figures are there in all, partly hidden ones included?",
    "Count all figures, those that others cover in part as well.",
    "What is the number of figures in the picture? Pieces of one figure count once.",
    "Figures overlap here. How many are there altogether?",
    "How many figures were laid on top of one another and side by side here?",
)
FRONT = (
    "Which is in front where they overlap, the {first} or the {second}?",
    "Does the {first} cover a part of the {second}, or the other way round? Name the one in front.",
    "Of the {first} and the {second}, which one hides a part of the other?",
    "Look at the {first} and the {second}: which one is on top?",
    "Which of the two was laid over the other, the {first} or the {second}?",
)
ORDER = (
    "What is the order of {named}, from {begin} to {end}?",
    "Sort {named} from {begin} to {end}.",
    "In which order do {named} lie, from {begin} to {end}?",
    "Going from {begin} to {end}, how do {named} follow one another?",
    "Name {named} in order, beginning at the {begin}.",
)
NEITHER = "neither: they do not overlap"

FIRST = (
    "I box what can be seen of {named}.",
    "To begin with, I mark the visible part of {named}.",
    "Let me put a box around {named}, as far as it is in sight.",
)
FOUND = {
    "over": (
        "Along the edge of the {first}, outlines break off: {named}. I box what is left of them.",
        "Now I mark what goes on beneath the {first}: {named}.",
        "Cut off by the {first}: {named}. A box around the visible part of each.",
    ),
    "under": (
        "The outline of the {first} is broken by {named}. I box that.",
        "Now I mark what lies over the {first}: {named}.",
        "In front of the {first}: {named}. A box around the visible part of each.",
    ),
}
ENTIRE_ONES = (
    "I begin with the figures that are seen whole.",
    "Closed outlines first: I box every figure that nothing covers.",
    "Let me mark the figures with nothing in front of them.",
)
HIDDEN_ONES = (
    "I box the visible part of every figure whose outline breaks off at another.",
    "These are cut off by others; I mark what can be seen of them.",
    "Each of these goes on beneath another figure. A box around its visible part.",
)
CHAIN = (
    "Where two of them meet, one outline is unbroken. Lines lead from that one to the other.",
    "Now a line from each figure to the one that it covers.",
    "I join them, always from the one in front to the one behind it.",
)
