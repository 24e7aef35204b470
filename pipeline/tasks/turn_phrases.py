"""How the turn task asks and thinks: what is shown, where one stands, questions and thoughts."""

WITHIN = (  # what is shown by a camera that turns on the spot
    "The {views} pictures were taken from one spot by a camera that only turned. Each is {width}° "
    "wide.",
    "A camera stands still and turns: it took all {views} pictures from the same place, each "
    "{width}° wide.",
    "Someone looked around from one place and took {views} pictures, each showing {width}° from "
    "edge to edge.",
    "All {views} pictures show the surroundings of the same spot. A picture covers {width}° from "
    "left to right.",
    "From one and the same spot, {views} pictures were taken in different directions. The lens "
    "takes in {width}° across.",
)
TOLD = (  # and may be told
    " Between one picture and the next it turned to the {side}, by {turns}.",
    " From picture to picture the turn was to the {side}: {turns}.",
    " The turns from each picture to the next were {turns}, all to the {side}.",
)
OUTSIDE = (
    "The {views} pictures show one scene from different cameras.",
    "One scene was photographed from {views} sides.",
    "You see the same objects in {views} pictures, taken from different places.",
    "{views} cameras stand around a scene; each took one of the pictures.",
    "Here are {views} views of one and the same scene.",
)
AS_IN = (  # where one stands and faces
    "You stand there and look straight ahead as in picture {k}.",
    "Imagine that you look out from there exactly as picture {k} does.",
    "Stand at that spot and face the middle of picture {k}.",
)
FACING = (
    "You stand there and face the {ahead}.",
    "Imagine that you are at that spot, with the {ahead} straight ahead of you.",
    "Stand at that spot so that you look straight at the {ahead}.",
)
STANDING = (
    "You stand at the {start} and face the {ahead}.",
    "Imagine that you are where the {start} is and look straight at the {ahead}.",
    "Stand at the place of the {start}, with the {ahead} straight ahead of you.",
)
TURNED = (
    "Which way and how far did the camera turn from picture {i} to picture {j}?",
    "What turn leads from picture {i} to picture {j}?",
    "Between taking picture {i} and picture {j}, how was the camera turned?",
    "Compare pictures {i} and {j}. How does one turn to get from the first to the second?",
    "To look as in picture {j} after looking as in picture {i}, how does one have to turn?",
)
DEGREES = (
    "By how many degrees did the camera turn to the {side} from picture {i} to picture {j}? It is "
    "a multiple of 10.",
    "How many degrees to the {side} is the turn from picture {i} to picture {j}, to the nearest "
    "10?",
    "From picture {i} the camera turned to the {side} until it saw picture {j}. By how many "
    "degrees, a multiple of 10?",
    "Picture {j} looks farther to the {side} than picture {i}. How many degrees farther, as a "
    "multiple of 10?",
    "Give the angle in degrees, a multiple of 10, by which one turns {side} from the view of "
    "picture {i} to that of picture {j}.",
)
FACE = (
    "Then you turn {turn}° to the {side}. What is now in front of you?",
    "Now turn {turn}° to the {side}. Which object do you face?",
    "After a turn of {turn}° to the {side}, which object is straight ahead?",
    "What do you look at once you have turned by {turn}° to the {side}?",
    "If you turn to the {side} by {turn}°, which of these is ahead of you?",
)
WHERE = (
    "Where is the {thing}?",
    "In which direction from you is the {thing}?",
    "Where do you find the {thing}, seen from there?",
    "How does the {thing} lie, as you are standing?",
    "To which side of you is the {thing}?",
)
PASSED = (
    "You turn to the {side} until you face the {last}. How many objects do you pass on the way?",
    "Turning to the {side}, how many objects come before your eyes between it and the {last}?",
    "How many objects lie between it and the {last} when you turn to the {side}?",
    "Going round to the {side}, how many objects do you see after it and before the {last}?",
    "Count the objects that you pass while turning {side} from it to the {last}.",
)
SIDE = (
    "How many of the objects in the pictures are {where}?",
    "How many of the objects shown lie {where}?",
    "Count the objects of the pictures that are {where}.",
    "What is the number of objects shown that are {where}?",
    "Of all the objects in the pictures, how many have their place {where}?",
)
ANCHOR_AS_IN = (
    "A line in the middle of picture {k} shows what is straight ahead.",
    "Straight ahead is the middle of picture {k}: I draw it.",
)
ANCHOR_FACING = (
    "First I find the {ahead}, in picture {k}: that way is straight ahead.",
    "Picture {k} shows the {ahead} best. It is boxed, and lies straight ahead.",
)
ANCHOR_STANDING = (
    "I box the {start} and the {ahead} in {shown}; a line from one to the other points ahead.",
    "In {shown} I draw the way that I look, from the {start} to the {ahead}.",
)
ENDS = (
    "I mark the middles of pictures {i} and {j}: the directions to compare.",
    "A line down the middle of picture {i} and of picture {j} shows where each looks.",
)
LINKS = (
    "What neighbouring pictures share shows how far the view turned: {links}.",
    "I box what is seen in two pictures, to measure the turn between them: {links}.",
)
TARGET = (
    "The {thing} is in picture {k}; I box it.",
    "Now the {thing}: picture {k} shows it.",
)
TARGET_OUTSIDE = (
    "Then I box the {thing} in {shown} and draw the way to it from the {start}.",
    "From the {start} a line to the {thing}, in {shown}.",
)
COUNTED = (
    "These count: {things}. I box each.",
    "I mark what counts: {things}.",
)
LAST = ("The {last}, where the turn ends, gets a box too.", "I also box the {last}, where I stop.")
TURNED_END = (
    "The shared objects moved so that the turn from picture {i} to picture {j} is {turn}° to the "
    "{side}.",
    "From the middle of picture {i} to that of picture {j} it is {turn}° to the {side}.",
)
BEARING_END = (
    "From straight ahead, the {thing} is about {bearing}° round to the {way}{so}.",
    "The {thing} lies some {bearing}° to the {way} of where I look{so}.",
)
FACE_SO = ", so I face it after the turn of {turn}° to the {side}"
WHERE_SO = ", which is {where}"
COUNT_END = (
    "With the directions marked, {count} {objects} in all.",
    "Going by what is boxed, I count {count} {objects}.",
)
