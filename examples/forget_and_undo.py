"""Forget and undo: take back one example, a class, or the newest call, exactly.

Afterwards the weights are bit for bit those of a learner that never saw what was forgotten. The bytes leave the
file with `compact()`.
"""

from edgemeta import Learner
from edgemeta.data import Digits

digits = Digits().load()
zeros, ones = digits.members()[0], digits.members()[1]

learner = Learner("glyphs")
learner.learn_many(digits.pixels[zeros[:5]], "zero")
mistake = learner.learn(digits.pixels[ones[0]], "zero")  # that was a one
print(f"taught {learner.counts}, one of them wrong")

learner.forget(example=mistake)
print(f"without the mistake {learner.counts}")

learner.learn_many(digits.pixels[ones[:5]], "one")
learner.undo()
print(f"after undo {learner.counts}")

learner.learn_many(digits.pixels[ones[:5]], "one")
learner.forget("zero")
never = Learner("glyphs")
never.learn_many(digits.pixels[ones[:5]], "one")
same = (learner.solution().weights == never.solution().weights).all()
print(f"known after forgetting: {learner.labels}, as if never seen: {same}")
