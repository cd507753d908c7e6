"""Say unknown: what resembles nothing taught gets no label, at the rate of false alarms that you ask for.

`unknown=0.05` means: of the inputs of taught classes about 5 % may be rejected. How far is too far follows from
the taught examples themselves, each left out; no threshold to guess. While they are fewer than 19 (for 5 %) the
bundle's background says it, which knows how far unseen classes spread around one, two, five examples. It works with a
single class, too. `nearest` still says what the input is closest to, `novelty` how far it is over the limit.

The rate holds for inputs like those that were taught: teach as much variety as the device will see. Frames of one
burst look alike and would make the limit too narrow: give them a `group`.
"""

from edgemeta import Learner
from edgemeta.data import Digits

digits = Digits().load()
for shots in (1, 8):
    learner = Learner("glyphs", unknown=0.05)
    for digit in range(5):
        learner.learn_many(digits.pixels[digits.members()[digit][::20][:shots]], digits.classes[digit])

    def rejected(digit: int, learner: Learner = learner) -> float:
        found = learner.predict_many(digits.pixels[digits.members()[digit][1::3]])
        return sum(p.label is None for p in found) / len(found)

    known = sum(rejected(digit) for digit in range(5)) / 5
    other = sum(rejected(digit) for digit in range(5, 10)) / 5
    print(f"{shots} of each of 0 to 4 taught: unknown are {known:.0%} of the others of these, {other:.0%} of 5 to 9")

seven = learner.predict(digits.pixels[digits.members()[7][61]])
print(f"a seven: label {seven.label}, nearest {seven.nearest}, {seven.novelty:.1f} times the limit")
