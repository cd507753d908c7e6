"""What a bundle may be called."""

from __future__ import annotations

from pathlib import Path

from edgemeta.bundle import SUFFIX
from edgemeta.bundle.fields import Field
from edgemeta.errors import BundleDamagedError, OptionError
from edgemeta.terminal import printable


def checked_name(name: str | None, out: Path) -> str:
    """The name in the manifest. Raises OptionError for one that no bundle can have, also for the file."""
    if out.suffix != SUFFIX:
        raise OptionError(f"a bundle's file ends in {SUFFIX}: --out {printable(str(out) + SUFFIX)}")
    try:
        return Field(out.stem if name is None else name, "name").word()
    except BundleDamagedError as error:
        raise OptionError(
            f"a bundle cannot be called '{printable(out.stem if name is None else name)}'; give it a --name of 1 to "
            "64 letters, digits, '.', '_' and '-', the first a letter or a digit"
        ) from error
