"""How `distance` asks, and how its gold solution thinks aloud."""

PAIRS = (
    "Each colour marks two dots. Which two are {most}?",
    "Which pair of dots of the same colour is {most}?",
    "Compare the dots of each colour: in which colour are they {most}?",
    "Measure from dot to dot within each colour. The dots of which colour lie {most}?",
    "Of the equally coloured pairs of dots, which is {most}?",
)
SEGMENTS = (
    "Which straight segment is the {most}?",
    "Compare the straight segments from end to end. Which one is {most}?",
    "Of the coloured segments, which is {most}?",
    "One segment is the {most} of all. Which colour does it have?",
    "Sorted by length, which segment is the {most}?",
)
FINS = " Fins at its ends do not count."
FIGURE = (
    "Which figure measures the {most} from {side} to {end}?",
    "Compare the figures from {side} to {end}. Which one measures the {most}?",
    "From its {side}most to its {end}most point, which figure extends the {most}?",
    "Of these figures, which takes up the {most} room between its {side} and its {end}?",
    "Put a box around each figure. Which box measures the {most} from {side} to {end}?",
)
SCALE = (
    "By the scale bar, how many {unit} are the {colour} dots apart?",
    "How far is it from one {colour} dot to the other, in {unit} of the scale?",
    "What is the distance of the two {colour} dots in {unit}, as the scale bar gives it?",
    "Use the scale bar: how many {unit} lie between the {colour} dots?",
    "Measure the straight way between the {colour} dots. How many {unit} is it by the scale?",
)
FITS = (
    "How many whole times does the {short} segment fit into the {long} one?",
    "Laid end to end, how many whole copies of the {short} segment fit along the {long} one?",
    "How often can the length of the {short} segment be taken off the {long} one?",
    "Divide the {long} segment into pieces as long as the {short} one. How many whole ones are there?",
    "The {long} segment is how many full lengths of the {short} one?",
)
JOINED = (
    "I join the dots of each colour with a line.",
    "A line from dot to dot in every colour shows how far it is.",
    "Let me draw the distance of each pair.",
)
TRACED = (
    "I draw a line over each segment, from end to end.",
    "A line along every segment shows its length without what is at its ends.",
    "Let me trace the segments themselves.",
)
BOXED = (
    "I put a box around each figure and compare the sides.",
    "The sides of a box around every figure show how far it extends.",
    "Let me box the figures first.",
)
BAR = (
    "I draw along the scale bar first: it stands for {value} {unit}.",
    "The scale bar gives the length of {value} {unit}. I mark it.",
    "First a line over the bar, which is {value} {unit} long.",
)
BAR_LAID = (
    "Now I lay the bar along the way between the {colour} dots, piece after piece.",
    "Between the {colour} dots I put one length of the bar after the other.",
    "From one {colour} dot to the other, I mark off lengths of the bar.",
)
BOTH = (
    "I draw along the {short} and the {long} segment.",
    "First a line over each of the two segments.",
    "Let me trace the {short} segment and the {long} one.",
)
LAID = (
    "Now I lay the {short} length along the {long} segment, end to end.",
    "From one end of the {long} segment I mark off {short} lengths.",
    "I put one {short} length after the other on the {long} segment.",
)
