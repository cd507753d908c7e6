"""Choose a head: class means need least, ridge uses how the dimensions vary together.

The head is only how weights are solved from what was taught; the same file opens with any of them.
"""

from edgemeta import Learner, make_head
from edgemeta.data import Digits

digits = Digits().load()
taught = [i for members in digits.members() for i in members[:5]]
tested = [i for members in digits.members() for i in members[100:130]]

for head in ("auto", "cosine", "ridge", make_head("ridge", lambda_=1.0, balance=True)):
    learner = Learner("glyphs", head=head)
    learner.learn_many(digits.pixels[taught], [digits.classes[i] for i in digits.labels[taught]])
    predicted = learner.predict_many(digits.pixels[tested])
    right = sum(p.label == digits.classes[digits.labels[i]] for p, i in zip(predicted, tested, strict=True))
    print(f"{learner.head.name:10} right on {right} of {len(tested)}")
