"""Choose a head: "auto" is the one the backbone was trained for; others use more of what was taught.

The head is only how weights are solved from what was taught; the same file opens with any of them.
With C classes, N examples and D dimensions:

| head | for | solves from | keeps |
|---|---|---|---|
| `euclidean`, `cosine` | one example a class, many classes, the least memory | the class sums | C D numbers |
| `centred` | the same for backbones that were not meta-trained (SimpleShot) | the class sums | C D |
| `lda` | two examples a class and more: learns which directions say nothing | sums and moment, or N examples | C D |
| `ridge` | the same where classes have no common shape; what R2-D2 trains for | sums and moment, or N examples | C D |
| `projected` | enough examples, classes that no plane parts (RanPAC) | all examples, 2,000 features | 2,000 (C + D) |
| `neighbours` | a plain baseline; classes of several kinds | all examples | N D |

`auto` is the bundle's head.
"""

from edgemeta import Learner, make_head
from edgemeta.data import Digits

digits = Digits().load()
taught = [i for members in digits.members() for i in members[:5]]
tested = [i for members in digits.members() for i in members[100:130]]

for head in ("auto", "cosine", "lda", "ridge", make_head("ridge", lambda_=1.0, balance=True)):
    learner = Learner("glyphs", head=head)
    learner.learn_many(digits.pixels[taught], [digits.classes[i] for i in digits.labels[taught]])
    predicted = learner.predict_many(digits.pixels[tested])
    right = sum(p.label == digits.classes[digits.labels[i]] for p, i in zip(predicted, tested, strict=True))
    print(f"{learner.head.name:10} right on {right} of {len(tested)}")
