"""How the appearance task asks and thinks: questions, thoughts between drawings, last thoughts."""

CAME = (
    "Which figure was the {rank} to appear?",
    "In the order of their first appearance, which figure comes {rank}?",
    "Watch when each figure is seen for the first time. Which one is the {rank}?",
    "Figures come and go. Which of these came into view as the {rank} of all?",
    "Of all the figures in the video, which one appeared {rank}?",
)
WENT = (
    "Of the figures that are gone by the end, which was the {rank} to leave for good?",
    "Some figures are not there any more in frame 16. Which of them was gone for good {rank}?",
    "Look at when each figure that leaves is seen for the last time. For which is that {rank}?",
    "Among those missing from the last frame, which figure left {rank}, never to return?",
    "Which figure that is gone in the end was the {rank} to disappear and not come back?",
)
EXIT = {  # by world
    "open": (
        "In which quarter of the picture was the {thing} last seen?",
        "Where in the picture was the {thing} when it was seen for the last time?",
        "The {thing} disappears for good. In which part of the picture was it last?",
        "Find the last frame with the {thing}. In which quarter of the picture is it there?",
        "Before it vanished for good, in which quarter of the picture was the {thing}?",
    ),
    "edges": (
        "At which edge of the picture was the {thing} last seen?",
        "Over which edge did the {thing} leave for good?",
        "The {thing} goes and does not return. At which edge was it last?",
        "Find the last frame with the {thing}. At which edge of the picture is it there?",
        "Which edge of the picture did the {thing} cross when it left for the last time?",
    ),
    "doors": (
        "At which door was the {thing} last seen?",
        "Through which door did the {thing} disappear for good?",
        "The {thing} goes and does not return. By which door did it leave?",
        "Find the last frame with the {thing}. At which door is it there?",
        "Behind which door is the {thing} in the end?",
    ),
}
FIRST_FRAME = (
    "In which frame did the {thing} first appear?",
    "What is the number of the first frame that shows the {thing}?",
    "Frames are numbered from 1. Which is the first with the {thing} in it?",
    "When is the {thing} seen for the first time? Give the number of the frame.",
    "Find the frame in which the {thing} comes into view for the first time. Which number is it?",
)
LAST_FRAME = (
    "In which frame was the {thing} last seen?",
    "What is the number of the last frame that shows the {thing}?",
    "Frames are numbered from 1. Which is the last with the {thing} in it?",
    "When is the {thing} seen for the last time? Give the number of the frame.",
    "Find the last frame before the {thing} is gone for good. Which number is it?",
)
BEFORE = (
    "How many figures had appeared before the {thing} first did?",
    "How many different figures were seen before the {thing} came into view for the first time?",
    "When the {thing} first appears, how many others have been seen already, gone or not?",
    "Count the figures that appeared earlier than the {thing}.",
    "Of the other figures, how many made their first appearance before the {thing}?",
)
BACK = (
    "How many figures left and came back?",
    "Count the figures that disappear for a while and return.",
    "How many of the figures are seen again after they were gone?",
    "What is the number of figures that come into view twice?",
    "Some figures may return after leaving. How many do?",
)
BOX_FIRSTS = (
    "I look for the first frame of each candidate and box it there: {when}.",
    "Each of them gets a box where it is seen for the first time: {when}.",
)
BOX_LASTS = (
    "I look for the last frame of each candidate and box it there: {when}.",
    "Each of them gets a box where it is seen for the last time: {when}.",
)
BOX_GONE = (
    "After frame {before} the {thing} goes, but it will be back.",
    "Frame {before} shows the {thing} before it goes, not for good: I box it and look on.",
)
BOX_LAST = (
    "Frame {k} is the last that shows the {thing}; I box it{too}.",
    "After frame {k} the {thing} is not seen any more. I mark it there{too}.",
)
BOX_FIRST = (
    "The {thing} is there in frame {k} and in none before: I box it.",
    "Frame {k} is the first that shows the {thing}. It gets a box.",
)
BOX_EARLIER = (
    "These were seen earlier, each boxed in its first frame: {when}.",
    "Before that frame others came into view: {when}. I box each where it came.",
)
BOX_ALL = (
    "I box every figure in its first frame: {when}.",
    "First all figures, each where it comes into view: {when}.",
)
BOX_AGAIN = (
    "After some frames without them, these are back: {again}.",
    "I box those that come into view a second time: {again}.",
)
ORDER_END = (
    "In order it is {order}, so the {rank} is the {thing}.",
    "Going by the frames, {order}: the {thing} is the {rank}.",
)
EXIT_END = (
    "The box of the {thing} in frame {k}, its last, is {where}.",
    "Where it was last seen, in frame {k}, the {thing} is {where}.",
)
FRAME_END = (
    "The box of the {thing} is in frame {k}.",
    "So the frame that was asked for is {k}.",
)
BEFORE_END = (
    "That makes {count} before the {thing}.",
    "Seen before the {thing}: {count}.",
)
BACK_END = (
    "The number of figures that came back is {count}.",
    "Of all figures, {count} left and returned.",
)
