"""Choose a head: "auto" chooses by what was taught; a named head stays.

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

`auto` begins with the bundle's own head (`ridge` for embeddings that you bring). Once half of the classes have two
independent examples it is still the bundle's, or `lda` for embeddings that you bring. With the fifth example of each
class another takes its place where examples left out speak for it clearly, and again with the tenth, the twentieth and
so on, so that heads near each other do not take turns. The choice follows from what is taught alone, each class and
each burst weighed alike; confidences are fitted to examples left out in the same way. With `budget=` it keeps to heads
that need nothing but sums.
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
