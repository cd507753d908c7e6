"""Commands that write a copy of a bundle with more in it: background, prior. NumPy and a runtime, no torch."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..bundle import SUFFIX, Bundle
from ..data import open_source
from ..errors import OptionError
from ..terminal import Progress, printable, table

if TYPE_CHECKING:
    from ..background import Background
    from ..data.omniglot import Part

# Images embedded at a time, prior classes listed, and the rates shown of those that are measured.
BATCH, SHOWN, SHOWN_RATES = 256, 10, (0.01, 0.05)


def add_commands(commands: Any) -> None:
    """Add this file's commands to the parser."""
    background = _command(commands, "background", _background, "measure how far inputs lie from class means they know")
    background.add_argument("--data", required=True, metavar="SPEC", help="omniglot:DIR, folder:DIR, glyphs, digits")
    background.add_argument(
        "--part",
        choices=["background", "evaluation"],
        default="background",
        help="of Omniglot and glyphs; classes that the backbone was trained on lie too close, and about twice as many "
        "inputs would be rejected as asked for (`edgemeta export --background held-out` takes those it was not)",
    )
    background.add_argument("--episodes", type=int, default=400, help="for each number of shots (default 400)")
    background.add_argument("--seed", type=int, default=0)
    prior = _command(commands, "prior", _prior, "make what a learner was taught prior classes; groups are users")
    prior.add_argument("file", metavar="FILE.learned", help="taught with this bundle")


def _command(commands: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("bundle", metavar="BUNDLE", help="a bundle's path or name; it stays as it is")
    parser.add_argument("--out", required=True, metavar="NEW.edgemeta", help="the copy; replaces a file that is there")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=run)
    return parser


def measured(
    bundle: Bundle, spec: str, part: Part = "background", *, episodes: int = 400, seed: int = 0, quiet: bool = False
) -> Background:
    """The background of a bundle on the data `spec`, embedded by its own graph, with a progress line unless `quiet`.

    Raises DataError, DataMissingError, OptionError, RunnerError, MissingDependencyError.
    """
    from ..background import SHOTS, measure_background
    from ..options import as_count

    as_count(episodes, "episodes"), as_count(seed, "seed", least=0)  # before minutes of embedding
    data = open_source(spec, part=part).load(bundle.input.height, bundle.input.width)
    z = _embedded(bundle, data.pixels, None if quiet else Progress("embed", len(data)))
    progress = None if quiet else Progress("measure", len(SHOTS) * episodes)
    found = measure_background(
        z, data.labels, source=_named(spec, part), episodes=episodes, seed=seed, progress=progress
    )
    if progress:
        progress.close()
    return found


def _embedded(bundle: Bundle, pixels: NDArray[np.uint8], progress: Progress | None) -> NDArray[np.float64]:
    """Fitted images uint8 (N, H, W) or (N, H, W, 3) to embeddings (N, D) as a learner would store them."""
    from ..embedder import Embedder
    from ..evaluation import as_rgb
    from ..normalisation import to_float

    embedder = Embedder(bundle, None, None, None, None, None)
    z = np.empty((len(pixels), bundle.dim))
    for start in range(0, len(pixels), BATCH):
        stop = min(start + BATCH, len(pixels))
        z[start:stop] = to_float(embedder.images(list(as_rgb(pixels[start:stop]))))
        if progress:
            progress.update(stop)
    if progress:
        progress.close()
    return z


def _named(spec: str, part: str) -> str:
    """What a bundle says of the data: their kind and part, and no path of this machine."""
    kind = spec.partition(":")[0]
    return f"{kind}, {part} part" if kind in ("omniglot", "glyphs") else kind


def _background(options: argparse.Namespace) -> int:
    from ..background import SHOTS, WAYS
    from ..bundle import rewrite_bundle

    bundle = _opened(options)
    found = measured(
        bundle, options.data, options.part, episodes=options.episodes, seed=options.seed, quiet=options.json
    )
    copy = rewrite_bundle(bundle, options.out, background=found)
    if options.json:
        values = found.values.astype(float).tolist()
        print(json.dumps({"classes": found.classes, "source": found.source, "values": values, "bytes": copy.nbytes}))
        return 0
    for rate in SHOWN_RATES:
        print(f"squared distance that {100 * rate:g} % of the inputs of {found.classes} classes exceed")
        rows = [("shots", *(f"{ways} way{'s' * (ways > 1)}" for ways in WAYS))]
        rows += [(str(shots), *(f"{found.threshold(shots, ways, rate):.4f}" for ways in WAYS)) for shots in SHOTS]
        print(table(rows))
    print(f"{printable(options.out)}: {copy.nbytes} bytes, background measured on {printable(found.source)}")
    return 0


def _prior(options: argparse.Namespace) -> int:
    from ..bundle import rewrite_bundle
    from ..journal import Journal
    from ..prior import prior_from_journal

    bundle = _opened(options)
    with Journal.open(options.file, embedding_id=bundle.embedding_id, dim=bundle.dim, readonly=True) as journal:
        found = prior_from_journal(journal)
    copy = rewrite_bundle(bundle, options.out, prior=found)
    if options.json:
        record = {"labels": found.labels, "within": found.within, "between": found.between, "kappa": found.kappa}
        print(json.dumps({**record, "bytes": copy.nbytes}))
        return 0
    more = f" and {len(found.labels) - SHOWN} more" if len(found.labels) > SHOWN else ""
    print(f"{len(found.labels)} classes: {', '.join(printable(label) for label in found.labels[:SHOWN])}{more}")
    print(f"within {found.within:.4g}, between {found.between:.4g}: a prior class counts as {found.kappa:.3g} examples")
    print(f"{printable(options.out)}: {copy.nbytes} bytes")
    return 0


def _opened(options: argparse.Namespace) -> Bundle:
    """The bundle, once it is known that the copy can have its name. Raises OptionError, BundleError."""
    if Path(options.out).suffix != SUFFIX:
        raise OptionError(f"a bundle's file ends in {SUFFIX}: --out {printable(options.out + SUFFIX)}")
    return Bundle.open(options.bundle)
