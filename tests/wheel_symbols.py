"""What the extension in a wheel asks of the machine: the right processor, no glibc above 2.17, the C library alone.

    wheel_symbols.py WHEEL --machine x86_64|aarch64 --python 3.11

Exit status 1 where that is not so, or there is no extension.
"""

from __future__ import annotations

import argparse
import re
import struct
import zipfile
from pathlib import Path

MACHINES = {"x86_64": 62, "aarch64": 183}  # e_machine
LIBRARIES = {"libc.so.6", "libm.so.6", "libpthread.so.0", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
NEWEST = (2, 17)
DYNAMIC, NEEDED = 6, 1  # a section type, and a tag of what is in it


def needed(elf: bytes) -> list[str]:
    """The libraries that a 64-bit little-endian ELF file names."""
    (at,) = struct.unpack_from("<Q", elf, 40)
    size, count = struct.unpack_from("<HH", elf, 58)
    sections = [struct.unpack_from("<IIQQQQII", elf, at + size * i) for i in range(count)]
    found: list[str] = []
    for _, kind, _, _, offset, length, link, _ in sections:
        if kind != DYNAMIC:
            continue
        strings = sections[link][4]
        for entry in range(offset, offset + length, 16):
            tag, value = struct.unpack_from("<qQ", elf, entry)
            if tag == NEEDED:
                start = strings + value
                found.append(elf[start : elf.index(b"\0", start)].decode())
    return found


def versions(elf: bytes) -> list[tuple[int, ...]]:
    """Versions of glibc that it names, ascending."""
    found = set(re.findall(rb"GLIBC_([0-9.]+)\0", elf))
    return sorted(tuple(map(int, each.decode().split("."))) for each in found)


def complaints(wheel: Path, machine: str, python: str) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".so")]
        wanted = f"edgemeta/_native.cpython-{python.replace('.', '')}-{machine}-linux-gnu.so"
        if names != [wanted]:
            return [f"the extensions in it are {names or 'none'}, not {wanted}"]
        elf = archive.read(wanted)
    found = []
    (of,) = struct.unpack_from("<H", elf, 18)
    if elf[:5] != b"\x7fELF\2" or of != MACHINES[machine]:
        found.append(f"it is for the machine number {of}")
    others = sorted(set(needed(elf)) - LIBRARIES)
    if others:
        found.append(f"it needs {', '.join(others)}")
    named = versions(elf)
    if not named or named[-1] > NEWEST:
        found.append(f"it names the glibc versions {named}")
    print(f"{wheel.name}: {len(elf)} bytes, needs {' '.join(needed(elf))}, glibc {'.'.join(map(str, named[-1]))}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--machine", choices=sorted(MACHINES), required=True)
    parser.add_argument("--python", required=True)
    options = parser.parse_args()
    found = complaints(options.wheel, options.machine, options.python)
    if found:
        raise SystemExit("\n".join(f"{options.wheel.name}: {each}" for each in found))


if __name__ == "__main__":
    main()
