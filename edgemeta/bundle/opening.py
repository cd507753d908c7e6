"""The bundle as a program sees it: opened once, checked whole, its graphs read when they are asked for.

The reader, the checks and the hashes are imported when a bundle is opened: `import edgemeta` must be quick.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import BundleDamagedError, BundleError, BundleMissingError, NotFoundError, OptionError
from ..options import as_path
from ..terminal import printable
from .records import HeadRecipe, InputContract, Variant

if TYPE_CHECKING:
    from .reading import Contents

SUFFIX = ".edgemeta"
_MODELS = Path(__file__).parent.parent / "models"


class Bundle:
    """A bundle whose every byte was checked when it was opened. Make one with `Bundle.open`.

    path: the file. manifest: what it says about itself. normalisation: that of its embeddings. background and prior:
    None where there is none. sha256: of the whole file, hexadecimal. nbytes: size of the file.
    """

    def __init__(self, path: Path, contents: Contents) -> None:
        self.path = path
        self.manifest, self.normalisation, self.background, self.prior, *_ = contents
        self.sha256, self.nbytes, self._entries = contents.sha256, contents.nbytes, contents.entries

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, sha256: str | None = None, max_bytes: int | None = None) -> Bundle:
        """Open a file, or a shipped bundle by its name alone (`"glyphs"`: no folder, no suffix).

        sha256: the hash that the file must have, 64 hexadecimal digits; without it hashes only detect damage.
        max_bytes: refuse a larger file; the format itself ends at 2 GiB.
        The file is read once, in chunks; graphs stay on disk.

        Raises BundleMissingError, BundleDamagedError, BundleVersionError, BundleError when it cannot be
        read, and OptionError for a malformed `sha256` or what is no path at all.
        """
        from .reading import read_bundle

        pin = _checked_pin(sha256)
        where = resolve(path)
        name = printable(str(where))
        try:
            with where.open("rb") as file:
                return cls(where, read_bundle(file, pin, max_bytes))
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise BundleMissingError(f"there is no bundle at {name}; {_shipped_in_words()}") from error
        except BundleError as error:
            raise type(error)(f"{name}: {error}") from error
        except (OSError, ValueError) as error:  # ValueError: a path with a NUL
            raise BundleError(f"{name} cannot be read: {printable(str(error))}") from error

    @property
    def name(self) -> str:
        """The name in the manifest."""
        return self.manifest.name

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self.manifest.dim

    @property
    def embedding_id(self) -> bytes:
        """The 32 bytes that journals are bound to."""
        return self.manifest.embedding_id

    @property
    def input(self) -> InputContract:
        """What the graph takes."""
        return self.manifest.input

    @property
    def head(self) -> HeadRecipe:
        """The head that the bundle was made for."""
        return self.manifest.head

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The forms of the graph, the reference first."""
        return self.manifest.variants

    def variant(self, name: str) -> Variant:
        """The variant of that name. Raises NotFoundError naming those that there are."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        names = ", ".join(variant.name for variant in self.variants)
        raise NotFoundError(f"{self.name} has no variant {name!a}; it has {names}")

    def graph(self, name: str) -> bytes:
        """The bytes of a variant's graph, read now, compared with its hash, and looked through for what a
        graph must not hold. Raises NotFoundError, BundleDamagedError (also when the file changed since)."""
        from .graph_checks import check_graph

        variant = self.variant(name)
        data = self._member(variant.member)
        check_graph(variant.runtime, data, variant.member)
        return data

    def golden(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Golden inputs, uint8 (N, H, W, 3), and the graph's raw outputs for them, float32 (N, D)."""
        golden = self.manifest.golden
        inputs = np.frombuffer(self._member(golden.inputs), np.uint8).reshape(golden.count, *golden.shape)
        outputs = np.frombuffer(self._member(golden.outputs), "<f4").reshape(golden.count, self.dim)
        if not np.isfinite(outputs).all():
            raise BundleDamagedError(f"{printable(str(self.path))}: golden outputs hold NaN or infinity")
        return inputs, outputs.astype(np.float32)

    def _member(self, member: str) -> bytes:
        """The data of a member, hashed again: the file may have changed since it was opened."""
        import hashlib

        from .archive import read_member

        name = printable(str(self.path))
        try:
            with self.path.open("rb") as file:
                data = read_member(file, self._entries[member])
        except FileNotFoundError as error:
            raise BundleMissingError(f"{name} is no longer there") from error
        except OSError as error:
            raise BundleError(f"{name} cannot be read: {printable(str(error))}") from error
        if hashlib.sha256(data).hexdigest() != self.manifest.members[member].sha256:
            raise BundleDamagedError(f"{name}: {member} changed since the bundle was opened")
        return data

    def __repr__(self) -> str:
        return f"<Bundle {self.name}: {self.dim} dimensions, {len(self.variants)} variants, {self.nbytes} bytes>"


def resolve(path: str | os.PathLike[str]) -> Path:
    """The file that `path` means: text without a folder and without a suffix is a shipped bundle."""
    text = as_path(path, "a bundle")
    if isinstance(path, str) and os.path.basename(text) == text and "." not in text:
        return _MODELS / (text + SUFFIX)
    return Path(text)


def shipped() -> list[str]:
    """The names of the bundles inside the package."""
    return sorted(file.stem for file in _MODELS.glob("*" + SUFFIX))


def _shipped_in_words() -> str:
    names = shipped()
    return f"shipped with edgemeta: {', '.join(names)}" if names else "none is shipped with this edgemeta"


def _checked_pin(sha256: str | None) -> str | None:
    if sha256 is None:
        return None
    if not isinstance(sha256, str) or len(sha256) != 64 or not set(sha256) <= set("0123456789abcdefABCDEF"):
        raise OptionError("sha256= takes 64 hexadecimal digits, as sha256sum prints them")
    return sha256.lower()
