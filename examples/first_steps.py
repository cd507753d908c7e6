"""First steps: teach two digits, ask for a third image.

A shipped model, five examples each, no training. `digits` is a small data set inside the package; any image
(a file, a PIL image, a uint8 array) is taught the same way.
"""

from edgemeta import Learner
from edgemeta.data import Digits

digits = Digits().load()
ones, sevens = digits.members()[1], digits.members()[7]

learner = Learner("glyphs")
learner.learn_many(digits.pixels[ones[:5]], "one")
learner.learn_many(digits.pixels[sevens[:5]], "seven")

prediction = learner.predict(digits.pixels[sevens[100]])
print(f"{prediction.label}, {prediction.confidence:.0%} sure")
for label, score, confidence in prediction.ranked:
    print(f"  {label:6} score {score:+.3f}  confidence {confidence:.3f}")
