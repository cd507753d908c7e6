"""What the commands of device.py do with a file that is taught numbers instead of classes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import OptionError
from ..journal import Journal
from ..regressor import Regressor
from ..terminal import printable, table


def numbers_in(path: str) -> int:
    """How many numbers each example in a file teaches; 0 for classes, for both, and where there is no such file."""
    if not Path(path).exists():
        return 0
    with Journal.peek(path) as journal:
        kinds = journal.targets
    return next(iter(kinds)) if len(kinds) == 1 else 0


def open_regressor(options: argparse.Namespace, bundle: Any, targets: int, *, readonly: bool) -> Regressor:
    """Raises OptionError for options that only classes have."""
    for name in ("head", "unknown", "keep"):
        if getattr(options, name, None) not in (None, "auto"):
            raise OptionError(f"--{name} is for classes, and {printable(options.file)} is for numbers")
    return Regressor(bundle, options.file, targets=targets, readonly=readonly)


def parse_target(text: str) -> list[float]:
    """The numbers of one example, with commas between them. Raises OptionError."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise OptionError(f"--target is a number, or several with commas, not '{printable(text)}'") from None


def learn(options: argparse.Namespace, bundle: Any) -> int:
    target = parse_target(options.target)
    with open_regressor(options, bundle, len(target), readonly=False) as regressor:
        ids = regressor.learn_many(options.images, [target] * len(options.images), group=options.group)
        for image, example in zip(options.images, ids, strict=True):
            print(f"{printable(image)}: learned as {_shown(target)} ({example})")
        print(f"known now: {len(regressor.examples)} examples")
    return 0


def predict(options: argparse.Namespace, bundle: Any, targets: int) -> int:
    with open_regressor(options, bundle, targets, readonly=True) as regressor:
        for image, found in zip(options.images, regressor.predict_many(options.images), strict=True):
            if options.json:
                std = None if found.std is None else found.std.tolist()
                print(json.dumps({"image": image, "mean": found.mean.tolist(), "std": std}))
            else:
                print(f"{printable(image)}: {found}")
    return 0


def examples(journal: Journal) -> list[dict[str, Any]]:
    """Each example with its id, numbers and group."""
    targets = journal.pairs(journal.live)[1].tolist()
    return [
        {"id": str(i), "target": target, "group": entry.group}
        for (i, entry), target in zip(journal.live.items(), targets, strict=True)
    ]


def as_table(rows: Sequence[dict[str, Any]]) -> str:
    """What `examples` gave."""
    cells = [(row["id"], _shown(row["target"]), printable(row["group"] or "")) for row in rows]
    return table([("example", "target", "group"), *cells])


def _shown(target: Sequence[float]) -> str:
    return ", ".join(f"{each:.6g}" for each in target)
