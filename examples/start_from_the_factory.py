"""Start from the factory: ship classes that are known already, and let a few examples of the user move them.

The factory teaches a learner with many examples, each user's or device's as a `group`, and turns that into prior
classes of a bundle (on the command line: `edgemeta prior glyphs factory.learned --out shop.edgemeta`). A learner with
that bundle knows them from the start. What its user teaches is combined with them in closed form: the prior counts for
as many examples as it is worth, which follows from how much users differ. Forgetting a class returns it to the
factory's; new classes are learned beside them.
"""

import tempfile
from pathlib import Path

from edgemeta import Bundle, Learner
from edgemeta.bundle import rewrite_bundle
from edgemeta.data import Digits
from edgemeta.prior import prior_from_journal

digits = Digits().load()
factory = Learner("glyphs")
for writer in range(10):
    for members, name in zip(digits.members(), digits.classes, strict=True):
        factory.learn_many(digits.pixels[members[writer * 4 : writer * 4 + 4]], name, group=f"writer {writer}")

shop = Path(tempfile.mkdtemp()) / "shop.edgemeta"
rewrite_bundle(Bundle.open("glyphs"), shop, prior=prior_from_journal(factory.journal))

learner = Learner(shop)
tested = [i for members in digits.members() for i in members[60:150]]
truth = [digits.classes[digits.labels[i]] for i in tested]


def right() -> str:
    found = learner.predict_many(digits.pixels[tested])
    return f"{sum(p.label == t for p, t in zip(found, truth, strict=True)) / len(truth):.1%} right"


print(f"nothing taught: {right()}")
learner.learn(digits.pixels[digits.members()[7][155]], "7")
learner.learn(255 - digits.pixels[digits.members()[0][155]], "a symbol of my own")
known = len(learner.predict(digits.pixels[0]).ranked)
print(f"a seven and a class of the user's own: {right()}, knows {known} classes")
learner.forget("7")
print(f"the seven forgotten: {right()}, taught are {', '.join(learner.labels)}")
