"""A copy of a bundle with another background or other prior classes; all else stays, so its journals stay usable."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from ..background import Background
from ..errors import OptionError
from ..options import as_path
from ..prior import PriorClasses
from . import headbin
from . import manifest as manifests
from .opening import Bundle
from .records import BackgroundRecord, PriorRecord
from .writing import check_optional, pack, replace

Keep = Literal["keep"]


def rewrite_bundle(
    bundle: Bundle,
    path: str | os.PathLike[str],
    *,
    background: Background | Keep | None = "keep",
    prior: PriorClasses | Keep | None = "keep",
) -> Bundle:
    """Write a copy of `bundle` to `path` (its own file too), replacing a file that is there; returns it opened.

    background, prior: the new one, None for a copy without, "keep" for the bundle's own. embedding.id, graphs, golden
    data, licences, training and members of other tools are the same bytes.

    Raises OptionError for what no bundle can hold, BundleError as `Bundle.open` and `write_bundle`.
    """
    path = Path(as_path(path, "a bundle"))
    new_background = bundle.background if isinstance(background, str) and background == "keep" else background
    new_prior = bundle.prior if isinstance(prior, str) and prior == "keep" else prior
    check_optional(new_background, new_prior, bundle.dim, bundle.head.name)
    manifest = bundle.manifest._replace(background=None, prior=None)
    if new_background is not None:
        manifest = manifest._replace(background=BackgroundRecord(new_background.classes, new_background.source))
    if new_prior is not None:
        manifest = manifest._replace(prior=PriorRecord(new_prior.labels, new_prior.within, new_prior.between))
    contents = {name: bundle._member(name) for name in manifest.members if name != manifests.HEAD}
    try:
        contents[manifests.HEAD] = headbin.encode(
            headbin.Head(
                *(manifest.embedding_id, manifest.dim, manifest.input, manifest.normalisation, manifest.head),
                centre=bundle.normalisation.centre,
                background=None if new_background is None else new_background.values,
                prior=new_prior,
            )
        )
        packed = pack(manifest, contents)
    except ValueError as error:
        raise OptionError(f"the bundle cannot be written: {error}") from error
    replace(path, packed)
    return Bundle.open(path.absolute())
