"""How the views task asks and thinks: questions, thoughts between drawings, and last thoughts."""

FOUND = (  # shared by all questions that begin with one tagged object
    "In picture {t}, tag {tag} is on the {what}. I box it as {name}{too}.",
    "Tag {tag} of picture {t} belongs to the {what}: that is {name}. I mark it{too}.",
    "First the tag: in picture {t}, {tag} marks the {what}. A box goes around {name}{too}.",
)
SAME = (
    "The {views} pictures show one scene from different cameras. An object in picture 1 is tagged "
    "1. Which tag does the same object have in picture {k}?",
    "Picture 1 marks an object with tag 1. Picture {k} shows the same scene from another side. "
    "Which of the tags A to D is on that object there?",
    "One scene, {views} cameras. Find the object tagged 1 in picture 1 again in picture {k}. Which "
    "letter does it have?",
    "Which of the objects A, B, C and D in picture {k} is the one that is tagged 1 in picture 1? "
    "All pictures show the same scene.",
    "The camera moved around the scene between picture 1 and picture {k}. With which letter is "
    "object 1 of picture 1 tagged there?",
)
SAME_AGAIN = (
    "Now I look for the {what} in picture {k} and box it{too}.",
    "Picture {k} shows the scene from another side. I mark the {what} there{too}.",
    "The same {what} must be in picture {k}: I box what I find{too}.",
)
SAME_END = (
    "In picture {k} the {what} is the object with tag {letter}, so that is object 1.",
    "The object boxed in picture {k} is again the {what}, and its tag there is {letter}.",
    "Only one object is the {what}. In picture {k} it has tag {letter}.",
)
DIFFERENT = (
    "The {views} pictures show one scene from different cameras. In each picture one object has "
    "the tag X. How many different objects are tagged in all?",
    "Every picture of this scene tags one object with X, and it may be the same one again. How "
    "many different objects have a tag?",
    "One scene, {views} cameras, one tag X in each picture. On how many different objects are the "
    "tags?",
    "Compare the objects tagged X in the {views} pictures of this scene. How many different ones "
    "are there?",
    "Between the pictures the camera moves, and the tag X may move too. Count the different "
    "objects that it marks in the {views} pictures.",
)
DIFFERENT_AGAIN = (
    "The other pictures tag: {where}. I box each, under the same name where it is the same object.",
    "Next the remaining pictures, {where}. A box gets a new name where the object is a new one.",
)
DIFFERENT_END = (
    "The boxes read {where}: {count} different {objects}.",
    "Going by the boxes, it is {where}. That makes {count} different {objects}.",
    "I have marked {where}, so the tags are on {count} different {objects}.",
)
NEAREST = (
    "The {views} pictures show one scene from different cameras. Which of the objects tagged in "
    "picture {t} is {end} the camera of picture {k}?",
    "Tags A to D are in picture {t}. Which of these objects is {end} the camera that took picture "
    "{k}?",
    "One scene, {views} cameras. Of the objects A, B, C and D of picture {t}, which one is {end} "
    "the camera of picture {k}?",
    "Look at the scene from where picture {k} was taken. Which of the objects that picture {t} "
    "tags A to D is {end} that camera?",
    "Camera {k} took picture {k}. Which object is {end} it: A, B, C or D, as tagged in picture "
    "{t}?",
)
NEAREST_FIND = (
    "In picture {t}, {listing}. I box all four.",
    "First I need to know what is tagged in picture {t}: {listing}.",
)
NEAREST_MARK = (
    "In picture {k} I box the four objects and draw a line from the camera's side to the one {end} "
    "it.",
    "Picture {k} tells the distances to its camera. I mark all four and, with a line from the "
    "bottom of the picture, the one {end} the camera.",
)
NEAREST_END = (
    "The line of picture {k} ends at object {letter}. It is {end} the camera; next comes object "
    "{next}.",
    "On the floor of picture {k}, object {letter} is {end} the camera and object {next} second.",
    "Of the four boxes in picture {k}, the one of object {letter} is {end} the camera, before "
    "object {next}.",
)
NEARER = (
    "The {views} pictures show one scene from different cameras. How many objects are nearer to "
    "the camera of picture {k} than the object tagged 1 in picture {t}?",
    "Picture {t} tags an object with 1. How many other objects are nearer to the camera of picture "
    "{k} than that one?",
    "Count the objects that are nearer to the camera of picture {k} than object 1 is. Object 1 is "
    "tagged in picture {t}.",
    "Look from the camera of picture {k}: how many objects of the scene are less far away than the "
    "one with tag 1 in picture {t}?",
    "One scene, {views} cameras. What is the number of objects whose distance to the camera of "
    "picture {k} is smaller than that of the object tagged 1 in picture {t}?",
)
NEARER_MARK = (
    "In picture {k} I box object 1 and whatever is nearer to the camera than it.",
    "Picture {k} counts: a box for object 1, and one for each object that is nearer to the camera.",
)
NEARER_END = (
    "Nearer to the camera of picture {k} than object 1: {nearer}. The number is {count}.",
    "Besides object 1, picture {k} has these boxes: {nearer}. So {count} are nearer.",
    "What I boxed in picture {k} as nearer than object 1: {nearer}. I count {count}.",
)
HOLDS = (
    "The {views} pictures show one scene from different cameras. In how many of the pictures is "
    "object 1 {relation} object 2? The tags are in {tagged}.",
    "Objects 1 and 2 are tagged in {tagged}. In how many of the {views} pictures is object 1 "
    "{relation} object 2?",
    "Count the pictures in which object 1 is {relation} object 2. See the tags in {tagged}; the "
    "{views} pictures show the same scene.",
    "One scene, {views} cameras, two objects tagged in {tagged}. How many of the pictures show "
    "object 1 {relation} object 2?",
    "Go through the {views} pictures of this scene. How often is object 1 {relation} object 2? "
    "The tags 1 and 2 are in {tagged}.",
)
HOLDS_FIRST = (
    "Object 1 is the {one}, object 2 the {two}. I box both in picture 1 and join them by a line.",
    "In picture 1, tag 1 is on the {one} and tag 2 on the {two}. I mark them, and a line between.",
)
HOLDS_AGAIN = (
    "I find the same two in {others} and mark them in the same way.",
    "The same boxes and lines in {others} let me compare the pictures one by one.",
)
HOLDS_END = (
    "Following the lines, object 1 is {relation} object 2 in {where}: {count} of {views}.",
    "The boxes show object 1 {relation} object 2 in {where}. That is {count} of the {views}.",
    "Object 1 is {relation} object 2 in {where}, so the number is {count}.",
)
