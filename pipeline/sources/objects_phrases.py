"""The words of `objects_asked`: questions, thoughts and endings, the plainest first."""

BOXES = (
    "I box {named} first.",
    "Let me put a tight box around {named}.",
    "To begin with, I mark {named}.",
    "I look for {named} and draw a box around each thing.",
    "Boxes first, around {named}.",
)
LINES = (
    "Now a line from {last} to each of the others shows the distances.",
    "I join the middle of {last} to the middles of the others.",
    "Lines from {last} make the distances comparable.",
    "From {last} I draw a line to each of the others.",
)
SIDE = (
    "Where is {first} as seen from {second}?",
    "On which side of {second} does {first} lie in the picture?",
    "How does {first} lie to {second}?",
    "Seen from {second}, in which direction is {first}?",
    "Compare the places of {first} and {second}. Where is the former?",
    "Look at {second}. Where in the picture is {first}?",
)
SIDE_ENDS = (
    "The box of {first} is {where} that of {second}.",
    "Going by the boxes, {first} lies {where} {second}.",
    "So {first} is {where} {second}.",
)
FURTHEST = (
    "Which of these is furthest to the {side} of the picture: {named}?",
    "Which one lies closest to the {side} edge of the photograph: {named}?",
    "Starting at the {side} edge, which comes first: {named}?",
    "What is furthest to the {side}: {named}?",
    "Compare their middles. Which is furthest to the {side}: {named}?",
)
FURTHEST_ENDS = (
    "Of the boxes, that of {best} is furthest to the {side}.",
    "The box closest to the {side} edge is the one of {best}.",
    "It is {best} that lies furthest to the {side}.",
)
NEAREST = (
    "Which of these is {most} {last}: {named}?",
    "Compare the distances, middle to middle. Which is {most} {last}: {named}?",
    "Of {all}, which one is {most} {last} in the picture?",
    "In the picture, what is {most} {last}: {named}?",
    "Measure in the plane of the photograph: which is {most} {last}, {named}?",
)
NEAREST_ENDS = (
    "The line to {best} is the {long}.",
    "Of the lines, the {long} one leads to {best}.",
    "The {long} line shows it: {best} is {most} {last}.",
)
SIZE = (
    "Which of these is {most} in the picture: {named}?",
    "Compare each {length} as it is seen. Which is {most}: {named}?",
    "Of {all}, which one is {most} as shown here?",
    "Going by its {length} in the photograph, which is {most}: {named}?",
    "Look at the {length} of {all}. Which one is {most}?",
)
SIZE_ENDS = (
    "Each {length} is about {lengths} px, in that order: {best} is {most}.",
    "The boxes have a {length} of about {lengths} px. So {best} is {most}.",
    "By the boxes, {best} is {most}.",
)
RATIO = (
    "How many times as {wide} as {less} is {more} in the picture? Answer with two decimals.",
    "Divide the {length} of {more} by the {length} of {less}, as seen in the photograph. "
    "Give two decimals.",
    "In the picture, the {length} of {more} is how many times that of {less}? Use two decimals.",
    "By what factor does {more} exceed {less} in {length} here? Answer with two decimals.",
)
RATIO_LINES = (
    "Now a line for the {length} of each, from edge to edge.",
    "The boxes fit. I draw each {length} as a line.",
    "I draw a line through each box to measure its {length}.",
)
RATIO_ENDS = (
    "The lines are about {long} px and {short} px long: {long} / {short} = {ratio}.",
    "For {more} I read about {long} px, for {less} {short} px. The quotient is {ratio}.",
)
APART = (
    "How many times as far from {last} as {near} is {far}? Go from middle to middle, and answer "
    "with two decimals.",
    "Divide the distance between {last} and {far} by the distance between {last} and {near}, all "
    "measured in the picture from middle to middle. Give two decimals.",
    "Measured between the middles of their boxes, the way from {last} to {far} is how many times "
    "the way from {last} to {near}? Use two decimals.",
)
APART_ENDS = (
    "The lines are about {long} px and {short} px long, which makes {ratio}.",
    "From {last} it is about {long} px to {far} and {short} px to {near}: {ratio} times as far.",
)
NUMBER = (
    "How many of these lie {where} {last}: {named}?",
    "Count those that are {where} {last}: {named}.",
    "Of {named}, how many are {where} {last} in the picture?",
    "Look at {last}. How many of the following are {where} it: {named}?",
)
NUMBER_ENDS = (
    "Of the boxes, {count} {lie} {where} {last}.",
    "Comparing each box with that of {last}: {count} {lie} {where} it.",
)
