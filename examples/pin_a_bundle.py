"""Pin a bundle: refuse any file but the one that you tested.

Hashes inside a bundle detect damage; the hash of the whole file, kept in your program, detects exchange.
"""

from edgemeta import Bundle, Learner
from edgemeta.errors import BundleDamagedError

tested = Bundle.open("glyphs").sha256  # in your program this is a constant
learner = Learner("glyphs", sha256=tested)
print(f"opened {learner.bundle}")
try:
    Learner("glyphs", sha256="0" * 64)
except BundleDamagedError as error:
    print(f"refused: {type(error).__name__}")
