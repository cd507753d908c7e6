"""Where a journal is: a hash of the machine and the file. A copy has another place and then takes a uuid of its own."""

from __future__ import annotations

import os

PLACE_SIZE = 16
NOWHERE = bytes(PLACE_SIZE)

# An SD card that was cloned for ten devices has the same machine-id and inode ten times: hence the serial numbers.
_SERIALS = (
    "/etc/machine-id",
    "/sys/firmware/devicetree/base/serial-number",
    "/sys/class/dmi/id/product_uuid",
    "/sys/block/mmcblk0/device/cid",
)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(256)
    except OSError:
        return b""


def place_of(info: os.stat_result) -> bytes:
    """16 bytes for the file that `info` describes, on this machine."""
    import hashlib

    digest = hashlib.sha256()
    for path in _SERIALS:
        digest.update(_read(path) + b"\0")
    digest.update(b"%d:%d" % (info.st_dev, info.st_ino))
    return digest.digest()[:PLACE_SIZE]
