"""Opening a bundle: sizes first, then every hash, then the meaning; the graph's bytes only when asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import (
    BundleDamagedError,
    BundleError,
    BundleMissingError,
    NotFoundError,
    OptionError,
)
from ..normalisation import Normalisation
from ..terminal import printable
from . import archive, graph_checks, headbin
from . import manifest as manifests
from .archive import Entry
from .manifest import HeadRecipe, InputContract, Manifest, Variant

SUFFIX = ".edgemeta"
_MODELS = Path(__file__).parent.parent / "models"


@dataclass(frozen=True, repr=False)
class Bundle:
    """A bundle whose every byte was checked when it was opened. Make one with `Bundle.open`.

    path: the file. manifest: what it says about itself. normalisation: that of its embeddings. sha256: of the
    whole file, hexadecimal. nbytes: size of the file.
    """

    path: Path
    manifest: Manifest
    normalisation: Normalisation
    sha256: str
    nbytes: int
    _entries: dict[str, Entry] = field(repr=False)

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], *, sha256: str | None = None, max_bytes: int = archive.MAX_BYTES
    ) -> Bundle:
        """Open a file, or a shipped bundle by its name alone (`"glyphs"`: no folder, no suffix).

        sha256: the hash that the file must have, 64 hexadecimal digits; without it hashes only detect damage.
        max_bytes: refuse a larger file. The file is read once, in chunks; graphs stay on disk.

        Raises BundleMissingError, BundleDamagedError, BundleVersionError, BundleError when it cannot be
        read, and OptionError for a malformed `sha256`.
        """
        pin = _checked_pin(sha256)
        where = resolve(path)
        name = printable(str(where))
        try:
            with where.open("rb") as file:
                return _open(cls, file, where, pin, max_bytes)
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
        variant = self.variant(name)
        data = self._member(variant.member)
        graph_checks.check_graph(variant.runtime, data, variant.member)
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

        name = printable(str(self.path))
        try:
            with self.path.open("rb") as file:
                data = archive.read_member(file, self._entries[member])
        except FileNotFoundError as error:
            raise BundleMissingError(f"{name} is no longer there") from error
        except OSError as error:
            raise BundleError(f"{name} cannot be read: {printable(str(error))}") from error
        if hashlib.sha256(data).hexdigest() != self.manifest.members[member].sha256:
            raise BundleDamagedError(f"{name}: {member} changed since the bundle was opened")
        return data

    def __repr__(self) -> str:
        return (
            f"<Bundle {self.name}: {self.dim} dimensions, {len(self.variants)} variants, {self.nbytes} bytes>"
        )


def resolve(path: str | os.PathLike[str]) -> Path:
    """The file that `path` means: text without a folder and without a suffix is a shipped bundle."""
    text = os.fspath(path)
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


def _open(cls: type[Bundle], file: BinaryIO, path: Path, pin: str | None, max_bytes: int) -> Bundle:
    nbytes = os.fstat(file.fileno()).st_size
    if nbytes > min(max_bytes, archive.MAX_BYTES):
        raise BundleDamagedError(f"{nbytes} bytes; the most is {min(max_bytes, archive.MAX_BYTES)}")
    entries = archive.read_entries(file, nbytes)
    by_name = {entry.name: entry for entry in entries}
    for name, most in ((manifests.MANIFEST, manifests.MAX_MANIFEST), (manifests.HEAD, headbin.MAX_SIZE)):
        if name not in by_name:
            raise BundleDamagedError(f"{name} is missing")
        if by_name[name].size > most:
            raise BundleDamagedError(f"{name} has {by_name[name].size} bytes; the most is {most}")

    scan = archive.scan(file, entries, keep=(manifests.MANIFEST, manifests.HEAD))
    if pin is not None and scan.sha256 != pin:
        raise BundleDamagedError(f"this is not the pinned file: pinned {pin}, found {scan.sha256}")
    manifest = manifests.decode(scan.kept[manifests.MANIFEST])
    _check_members(manifest, entries, scan)
    head = headbin.decode(scan.kept[manifests.HEAD])
    _check_twins(manifest, head)
    n = manifest.normalisation
    try:
        normalisation = Normalisation(centre=head.centre, power=n.power, l2=n.l2, scale=n.scale)
    except OptionError as error:
        raise BundleDamagedError(str(error)) from error
    return cls(path, manifest, normalisation, scan.sha256, nbytes, by_name)


def member_order(names: Sequence[str]) -> list[str]:
    """The order of members in the file: the manifest, head.bin, then the others by name."""
    first = [manifests.MANIFEST, manifests.HEAD]
    return first + sorted(set(names) - set(first))


def _check_members(manifest: Manifest, entries: Sequence[Entry], scan: archive.Scan) -> None:
    """The archive holds just what the manifest lists, in order, with its sizes and hashes."""
    names = [entry.name for entry in entries]
    listed = {manifests.MANIFEST, *manifest.members}
    for name in sorted(listed ^ set(names)):
        raise BundleDamagedError(f"{name} is {'missing' if name in listed else 'not in the manifest'}")
    if names != member_order(names):
        raise BundleDamagedError("the members are not in their order")
    for entry in entries[1:]:
        member = manifest.members[entry.name]
        if (entry.size, scan.members[entry.name]) != (member.size, member.sha256):
            raise BundleDamagedError(f"{entry.name} is damaged: its size or SHA-256 is not the manifest's")


def _check_twins(manifest: Manifest, head: headbin.Head) -> None:
    for name in ("embedding_id", "dim", "input", "normalisation", "head"):
        if getattr(manifest, name) != getattr(head, name):
            raise BundleDamagedError(f"manifest.json and head.bin differ in {name}")
