"""What the starter model knows: subjects (emoji labels and the words people use for them) and background colours.

A subject is written ``label`` or ``label=word``: ``label`` is the English emoji label in ``emojibase-data``, ``word``
what captions call it besides. The first list is deliberately short: a small network on one processor core learns a
few subjects well in the time in which it learns 1,200 badly. Append to the lists, then run every script again.
"""

from __future__ import annotations

import re
from pathlib import Path

from pictures import has_picture, read_names

GROUPS = (0, 1, 3, 4, 5, 6, 7)  # of emojibase: not skin tones (2), symbols (8), flags (9)
UNWANTED = re.compile(
    r"^(man|woman|men|women|person|people|family|couple|kiss|busts?|speaking|pregnant|deaf|middle finger)\b"
    r"|[:’]|thirty|hourglass done|breast|bikini|briefs"
    r"|(face|smiling|grinning|kissing|cat with|weary|pouting|crying|oncoming|button|keycap|inbox|outbox)\b"
    r"|^(waxing|waning|first quarter|last quarter|backhand|index pointing|rightwards|leftwards|palm|speaker)\b"
)

ANIMALS = """cat; dog; fox; wolf; lion; tiger face=tiger; unicorn; cow face=cow; pig face=pig; mouse face=mouse;
rabbit face=rabbit; bear; polar bear; koala; panda; monkey face=monkey; frog; penguin; owl; duck; flamingo; parrot;
elephant; giraffe; zebra; turtle; crocodile; snake; dolphin; spouting whale=whale; shark; tropical fish=fish; octopus;
crab; snail; butterfly; honeybee=bee; lady beetle=ladybug; hedgehog; T-Rex=dinosaur"""

FOOD_AND_PLANTS = """rose; sunflower; tulip; cactus; palm tree; evergreen tree=tree; mushroom; maple leaf=leaf;
grapes; watermelon; lemon; banana; pineapple; red apple=apple; pear; peach; cherries; strawberry; avocado; carrot;
broccoli; bread; croissant; cheese wedge=cheese; hamburger=burger; french fries=fries; pizza; hot dog; egg;
doughnut=donut; cookie; birthday cake=cake; cupcake; ice cream; beer mug=beer; hot beverage=coffee"""

PLACES_AND_TRAVEL = """house; castle; church; office building=building; tent; bus; automobile=car; taxi; fire
engine=fire truck; locomotive=train; tractor; bicycle=bike; sailboat=boat; helicopter; rocket; flying saucer=ufo;
star; rainbow; crescent moon=moon; fire"""

OBJECTS = """balloon; wrapped gift=gift; trophy; soccer ball=football; teddy bear; crown; top hat=hat; guitar; drum;
camera; television=tv; laptop; light bulb=lamp; books; key; umbrella with rain drops=umbrella; alarm clock=clock; gem
stone=diamond; backpack; bell"""

PEOPLE = """robot; ghost; alien; skull; astronaut; princess; Santa Claus=santa; baby; boy; girl; man; woman; old man;
cook=chef; snowman without snow=snowman; grinning face=smiley; jack-o-lantern=pumpkin; Christmas tree; mermaid; police
officer"""

COLOURS: dict[str, tuple[int, int, int]] = {
    "white": (255, 255, 255),
    "red": (217, 48, 48),
    "orange": (244, 144, 48),
    "yellow": (250, 216, 72),
    "green": (72, 172, 88),
    "blue": (60, 116, 216),
    "purple": (134, 82, 190),
    "pink": (246, 162, 196),
    "brown": (132, 88, 58),
    "black": (24, 24, 28),
    "grey": (142, 142, 148),
    "teal": (40, 166, 166),
    "beige": (236, 220, 190),
}

# Learned first, before any of the others: what one busy core can learn in an hour.
CORE = """cat; dog; fox; lion; tiger; pig; mouse; rabbit; bear; panda; frog; penguin; owl; duck; elephant; turtle;
whale; fish; crab; bee; ladybug; rose; sunflower; cactus; palm tree; tree; mushroom; watermelon; lemon; banana;
pineapple; apple; strawberry; carrot; cheese; burger; fries; pizza; donut; cake; ice cream; coffee; house; castle;
car; bus; train; boat; rocket; star; moon; fire; balloon; gift; football; guitar; robot; ghost; astronaut; girl; man;
santa; snowman; pumpkin"""


def core() -> set[int]:
    """Numbers (places in ``subjects()``) of the subjects to learn first."""
    words = {word.replace("\n", " ").strip() for word in CORE.split(";")}
    return {number for number, (_, word) in enumerate(subjects()) if word in words}


def subjects() -> list[tuple[str, str]]:
    """(emoji label, the word captions use) of the listed subjects, in list order."""
    entries = ";".join((ANIMALS, FOOD_AND_PLANTS, PLACES_AND_TRAVEL, OBJECTS, PEOPLE)).split(";")
    pairs = [entry.replace("\n", " ").strip().partition("=") for entry in entries]
    return [(label.strip(), (word or label).strip()) for label, _, word in pairs]


def wide_subjects(work: Path) -> list[tuple[str, str]]:
    """The listed subjects, then every other picture worth a noun: no variants, clock faces, smileys or flags.

    The listed ones keep their numbers, and with them their training colours.
    """
    listed = subjects()
    taken = {name for pair in listed for name in pair}
    more = []
    for entry in read_names(work):
        label = entry["label"]
        if entry.get("group") not in GROUPS or label in taken or UNWANTED.search(label) or not has_picture(work, entry):
            continue
        taken.add(label)
        more.append((label, label))
    return listed + more
