"""How well is it known: the report after teaching says what to expect, what is confused, what looks mislabelled.

Each example is predicted by a learner that never saw it, in closed form, so nothing needs to be held back. Frames of
one burst look alike and would flatter the result: give them a `group`, and groups are left out together. What is
expected holds for new images like those that were taught: teach what the device will see.
"""

from edgemeta import Learner
from edgemeta.data import Digits

digits = Digits().load()
learner = Learner("glyphs")
for members, name in zip(digits.members(), digits.classes, strict=True):
    learner.learn_many(digits.pixels[members[::20][:8]], name)
learner.learn(digits.pixels[digits.members()[4][30]], "9")  # a slip: it is a four
learner.learn_many(digits.pixels[digits.members()[4][31:34]], "4", group="one burst of frames")

report = learner.report()
print(report)

tested = [i for members in digits.members() for i in members[5::6]]
right = [
    p.label == digits.classes[digits.labels[i]]
    for p, i in zip(learner.predict_many(digits.pixels[tested]), tested, strict=True)
]
print(f"expected {report.accuracy:.0f} %, seen on new images {100 * sum(right) / len(right):.0f} %")
