"""Finding the bundle that a journal belongs to: among the shipped ones, beside the journal, in the current folder."""

from __future__ import annotations

from pathlib import Path

from .bundle import Bundle
from .errors import BundleError, BundleMissingError

SHIPPED = Path(__file__).parent / "models"


def find_bundle(embedding_id: bytes, *, near: Path) -> Bundle:
    """The first bundle with this embedding.id. Raises BundleMissingError."""
    for folder in (SHIPPED, near, Path()):
        for path in sorted(folder.glob("*.edgemeta")):
            try:
                bundle = Bundle.open(path)
            except (BundleError, OSError):
                continue  # not the one that is looked for; naming it with --bundle tells what is wrong
            if bundle.embedding_id == embedding_id:
                return bundle
    raise BundleMissingError(
        "the bundle that this file was taught with is not here; name it with --bundle B "
        f"(its embedding.id begins with {embedding_id.hex()[:12]})"
    )
