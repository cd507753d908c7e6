"""Reading a bundle: sizes first, then every hash, then the meaning; graphs are hashed and left on disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

from ..background import Background
from ..errors import BundleDamagedError, OptionError
from ..normalisation import Normalisation
from ..prior import PriorClasses
from . import archive, headbin
from . import manifest as manifests
from .archive import Entry
from .records import Manifest, PriorRecord


class Contents(NamedTuple):
    """What was read and found whole. sha256: of the whole file; normalisation and what follows: with their arrays."""

    manifest: Manifest
    normalisation: Normalisation
    background: Background | None
    prior: PriorClasses | None
    sha256: str
    nbytes: int
    entries: dict[str, Entry]


def read_bundle(file: BinaryIO, pin: str | None, max_bytes: int | None) -> Contents:
    """Check every byte of an open bundle. `pin` is the SHA-256 it must have, in lower case, or None.

    Raises BundleDamagedError, BundleVersionError.
    """
    nbytes = os.fstat(file.fileno()).st_size
    most = archive.MAX_BYTES if max_bytes is None else min(max_bytes, archive.MAX_BYTES)
    if nbytes > most:
        raise BundleDamagedError(f"{nbytes} bytes; the most is {most}")
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
        background = None
        if head.background is not None and manifest.background is not None:
            background = Background(head.background, *manifest.background)
    except OptionError as error:
        raise BundleDamagedError(str(error)) from error
    return Contents(manifest, normalisation, background, head.prior, scan.sha256, nbytes, by_name)


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
    if (manifest.background is None) != (head.background is None):
        raise BundleDamagedError("manifest.json and head.bin differ in whether there is a background")
    p = head.prior
    if manifest.prior != (None if p is None else PriorRecord(p.labels, p.within, p.between)):
        raise BundleDamagedError("manifest.json and head.bin differ in the prior classes")
