"""Characters of the bundled corpus: their voices and faces."""

from dataclasses import dataclass

Colour = tuple[int, int, int]  # RGB


@dataclass(frozen=True)
class Person:
    """A character; numbers without a unit are relative to an average face."""

    name: str
    voice: str  # espeak-ng voice and variant
    pitch: int  # espeak-ng, 0 to 100
    skin: Colour
    hair: Colour
    style: str  # of the hair: short, long, bun or fringe
    width: float  # of the face
    eyes: float  # their distance
    brows: float  # their thickness
    nose: float  # its length
    beard: float  # its darkness, 0 = none


CAST = (
    Person("Mara", "en+f2", 48, (236, 196, 170), (74, 46, 28), "long", 0.97, 1.00, 0.9, 1.00, 0.0),
    Person("Tobias", "en+m3", 46, (226, 178, 146), (46, 34, 28), "short", 1.05, 1.02, 1.3, 1.08, 0.5),
    Person("Ines", "en+f4", 54, (210, 160, 124), (30, 22, 20), "fringe", 0.96, 0.98, 1.0, 0.95, 0.0),
    Person("Viktor", "en+m1", 40, (240, 204, 180), (150, 120, 80), "short", 1.03, 0.96, 1.1, 1.10, 0.0),
    Person("Lena", "en+f5", 46, (244, 208, 186), (176, 120, 62), "bun", 0.98, 1.03, 0.8, 0.97, 0.0),
    Person("Okoro", "en+m7", 50, (164, 112, 80), (26, 20, 18), "short", 1.02, 1.04, 1.2, 1.00, 0.2),
    Person("Priya", "en+f3", 52, (190, 138, 102), (28, 20, 22), "long", 0.95, 1.00, 1.1, 1.02, 0.0),
    Person("Jonas", "en+m5", 44, (232, 188, 158), (96, 66, 40), "fringe", 1.00, 1.00, 1.0, 1.04, 0.0),
)
PEOPLE = {person.name: person for person in CAST}
