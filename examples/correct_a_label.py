"""Correct a label: the example stays, its class changes, in one step that can be undone."""

from edgemeta import Learner
from edgemeta.data import Digits

digits = Digits().load()
learner = Learner("glyphs")
ids = learner.learn_many(digits.pixels[digits.members()[4][:4]], "nine")  # they are fours
print(learner.counts)
for example in ids:
    learner.relabel(example, "four")
print(learner.counts)
