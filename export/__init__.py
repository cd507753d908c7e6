"""torch -> bundle. Installed as `edgemeta.export`; in a checkout `python -m export` runs it.

`edgemeta.export.export(module, "mine.edgemeta", example_input=...)` exports any source,
`edgemeta.export.verifying.verify` checks a bundle. Nothing is imported before it is asked for, so that verifying a
bundle on a device needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .exporting import export

__all__ = ["export"]


def __getattr__(name: str) -> Any:
    if name == "export":
        from .exporting import export

        return export
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
