"""The command `edgemeta`."""

from __future__ import annotations

import argparse
import io
import sys
import warnings
from collections.abc import Sequence

from .. import __version__
from ..errors import EdgemetaError


def build_parser() -> argparse.ArgumentParser:
    """All commands; each stores the function that runs it as `run`."""
    from . import device, equipping, looking, timing, workshop, wrapping

    parser = argparse.ArgumentParser(
        prog="edgemeta", description="Learn new things from a few examples, on the device."
    )
    parser.add_argument("--version", action="version", version=f"edgemeta {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    device.add_commands(commands)
    looking.add_commands(commands)
    workshop.add_commands(commands)
    wrapping.add_commands(commands)
    equipping.add_commands(commands)
    timing.add_commands(commands)
    return parser


def _say(message: Warning | str, *_: object, **__: object) -> None:
    print(f"edgemeta: {message}", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0, 1 when a check failed, 2 for a bad request or bad input, 130 after Ctrl-C."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A label must not end a command whose work is done because the terminal cannot show its letters.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        # Nearly everything is imported in here, so that Ctrl-C meanwhile is no traceback either.
        options = build_parser().parse_args(arguments)
        with warnings.catch_warnings():
            warnings.showwarning = _say
            return int(options.run(options) or 0)
    except EdgemetaError as error:
        print(f"edgemeta: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("edgemeta: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output went away (`| head`); Python would complain again at exit.
        sys.stderr.close()
        return 141
    except OSError as error:
        from ..terminal import printable

        where = f": {printable(str(error.filename))}" if error.filename is not None else ""
        print(f"edgemeta: {error.strerror or error}{where}", file=sys.stderr)
        return 2
