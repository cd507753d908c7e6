"""`manifest.json`: the records of a bundle as canonical JSON, read without trust."""

from __future__ import annotations

from typing import Any

from ..background import MAX_CLASSES, MAX_SOURCE
from ..errors import BundleDamagedError, BundleVersionError
from ..labels import LONGEST_BYTES
from ..prior import MAX_LABELS
from . import canonical
from .archive import MAX_BYTES, MAX_MEMBERS, check_name
from .fields import Field
from .records import (
    GOLDEN_INPUTS,
    GOLDEN_OUTPUTS,
    BackgroundRecord,
    Golden,
    HeadRecipe,
    InputContract,
    Licence,
    Manifest,
    Member,
    NormalisationRecord,
    PriorRecord,
    Variant,
)

FORMAT = "edgemeta-bundle"
VERSION = 1
MANIFEST = "manifest.json"
HEAD = "head.bin"
# Members under this folder are for others: hashed like all, and otherwise left alone.
FOREIGN = "x/"

MAX_MANIFEST = 1 << 20
MAX_DIM = 65536
MAX_SIDE = 8192
MAX_VARIANTS = 64
MAX_GOLDEN = 4096
# Parts that a bundle may lack, each with arrays in head.bin.
OPTIONAL = ("background", "prior")


def encode(manifest: Manifest) -> bytes:
    """The bytes of `manifest.json`. Raises ValueError or TypeError where `training` or `x` are no JSON."""
    h, g = manifest.head, manifest.golden
    value: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "name": manifest.name,
        "embedding": {
            "id": manifest.embedding_id.hex(),
            "dim": manifest.dim,
            "normalisation": manifest.normalisation._asdict(),
        },
        "input": dict(vars(manifest.input)),
        "head": {
            "name": h.name,
            "lambda": h.lambda_,
            "temperature": h.temperature,
            "balance": h.balance,
        },
        "variants": [_without_none(v._asdict()) for v in manifest.variants],
        "golden": {**vars(g), "shape": list(g.shape)},
        "licences": [licence._asdict() for licence in manifest.licences],
        "training": manifest.training,
        "members": {name: member._asdict() for name, member in manifest.members.items()},
    }
    if manifest.x:
        value["x"] = manifest.x
    for name in OPTIONAL:
        record = getattr(manifest, name)
        if record is not None:
            value[name] = record._asdict()
    return canonical.dumps(value)


def decode(data: bytes) -> Manifest:
    """The manifest in `data`, every field checked. Raises BundleDamagedError, BundleVersionError."""
    if len(data) > MAX_MANIFEST:
        raise BundleDamagedError(f"manifest.json: {len(data)} bytes; the most is {MAX_MANIFEST}")
    value = canonical.loads(data, "manifest.json")
    _check_version(value)
    manifest = _manifest(Field(value, ""))
    try:
        same = encode(manifest) == data
    except ValueError as error:  # a lone surrogate, which JSON can spell and UTF-8 cannot
        raise BundleDamagedError("manifest.json: text that is not Unicode") from error
    if not same:
        raise BundleDamagedError("manifest.json: not in the canonical form (sorted keys, no spaces)")
    _check_members(manifest)
    return manifest


def _check_version(value: Any) -> None:
    """Before all else: a newer format may look otherwise in everything but this."""
    found = value if isinstance(value, dict) else {}
    if found.get("format") != FORMAT:
        raise BundleDamagedError(f"manifest.json: format: this is not an {FORMAT}")
    version = Field(found.get("version"), "version").integer(1, 1 << 31)
    if version > VERSION:
        raise BundleVersionError(
            f"the bundle has format version {version}; this edgemeta reads version {VERSION}. "
            "Upgrade with: pip install --upgrade edgemeta"
        )


def _manifest(root: Field) -> Manifest:
    keys = ("format", "version", "name", "embedding", "input", "head", "variants", "golden", "licences")
    top = root.object((*keys, "training", "members"), optional=("x", *OPTIONAL))
    embedding = top["embedding"].object(("id", "dim", "normalisation"))
    return Manifest(
        name=top["name"].word(),
        embedding_id=bytes.fromhex(embedding["id"].digest()),
        dim=embedding["dim"].integer(1, MAX_DIM),
        normalisation=_normalisation(embedding["normalisation"]),
        input=_input(top["input"]),
        head=_head(top["head"]),
        variants=tuple(_variant(item) for item in top["variants"].items(1, MAX_VARIANTS)),
        golden=_golden(top["golden"]),
        licences=tuple(_licence(item) for item in top["licences"].items(0, 256)),
        training=top["training"].free(),
        members=_members(top["members"]),
        x=top["x"].free() if "x" in top else {},
        background=_background(top["background"]) if "background" in top else None,
        prior=_prior(top["prior"]) if "prior" in top else None,
    )


def _normalisation(at: Field) -> NormalisationRecord:
    f = at.object(("centre", "power", "l2", "scale"))
    l2 = f["l2"].flag()
    return NormalisationRecord(
        centre=f["centre"].flag(),
        power=f["power"].number(above=0.0, most=1.0),
        l2=l2,
        scale=f["scale"].number(above=0.0, most=1.0 if l2 else 1e300),
    )


def _input(at: Field) -> InputContract:
    f = at.object(("kind", "height", "width", "channels", "dtype", "layout", "colour", "fit"))
    if f["kind"].choice("image", "embedding") == "embedding":
        raise f["kind"].refuse("'embedding' is kept for a later version")
    return InputContract(
        height=f["height"].integer(1, MAX_SIDE),
        width=f["width"].integer(1, MAX_SIDE),
        kind="image",
        channels=f["channels"].integer(3, 3),
        dtype=f["dtype"].choice("uint8"),
        layout=f["layout"].choice("NHWC"),
        colour=f["colour"].choice("rgb"),
        fit=f["fit"].choice("crop"),
    )


def _head(at: Field) -> HeadRecipe:
    f = at.object(("name", "lambda", "temperature", "balance"))
    return HeadRecipe(
        name=f["name"].word(31),
        lambda_=None if f["lambda"].value is None else f["lambda"].number(above=0.0),
        temperature=f["temperature"].number(above=0.0),
        balance=f["balance"].flag(),
    )


def _without_none(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if value is not None}


def _variant(at: Field) -> Variant:
    keys = ("name", "runtime", "precision", "member", "input", "output", "interchangeable")
    f = at.object(keys, ("tolerance",))
    return Variant(
        name=f["name"].word(),
        runtime=f["runtime"].choice("onnx", "tflite"),
        precision=f["precision"].choice("fp32", "fp16", "int8"),
        member=_member_name(f["member"], f["member"].text(256)),
        input=f["input"].text(256, least=1),
        output=f["output"].text(256, least=1),
        interchangeable=f["interchangeable"].flag(),
        tolerance=f["tolerance"].number(above=0.0, most=2.0) if "tolerance" in f else None,
    )


def _golden(at: Field) -> Golden:
    f = at.object(("count", "shape", "tolerance", "inputs", "outputs"))
    height, width, channels = f["shape"].items(3, 3)
    return Golden(
        count=f["count"].integer(1, MAX_GOLDEN),
        shape=(height.integer(1, MAX_SIDE), width.integer(1, MAX_SIDE), channels.integer(3, 3)),
        tolerance=f["tolerance"].number(above=0.0, most=2.0),
        inputs=f["inputs"].choice(GOLDEN_INPUTS),
        outputs=f["outputs"].choice(GOLDEN_OUTPUTS),
    )


def _licence(at: Field) -> Licence:
    f = at.object(("what", "licence", "copyright"))
    return Licence(what=f["what"].text(), licence=f["licence"].text(), copyright=f["copyright"].text())


def _background(at: Field) -> BackgroundRecord:
    f = at.object(("classes", "source"))
    return BackgroundRecord(classes=f["classes"].integer(2, MAX_CLASSES), source=f["source"].text(MAX_SOURCE))


def _prior(at: Field) -> PriorRecord:
    """Whether the labels are labels, and in order, shows in their twin in head.bin."""
    f = at.object(("labels", "within", "between"))
    return PriorRecord(
        labels=tuple(item.text(LONGEST_BYTES, least=1) for item in f["labels"].items(1, MAX_LABELS)),
        within=f["within"].number(above=0.0),
        between=f["between"].number(above=0.0),
    )


def _members(at: Field) -> dict[str, Member]:
    return {_member_name(item, name): _member(item) for name, item in at.mapping(MAX_MEMBERS).items()}


def _member(at: Field) -> Member:
    f = at.object(("size", "sha256"))
    return Member(size=f["size"].integer(0, MAX_BYTES), sha256=f["sha256"].digest())


def _member_name(at: Field, name: str) -> str:
    complaint = check_name(name)
    if complaint:
        raise at.refuse(complaint)
    return name


def _check_members(manifest: Manifest) -> None:
    """Fields against each other: every member is there, has a purpose, and has the size of its shape."""
    graphs = [variant.member for variant in manifest.variants]
    names = [variant.name for variant in manifest.variants]
    needed = [HEAD, GOLDEN_INPUTS, GOLDEN_OUTPUTS, *graphs]
    root = Field(None, "members")
    if len(set(needed)) != len(needed) or len(set(names)) != len(names):
        raise Field(None, "variants").refuse("two variants share a name, or a member that is not theirs")
    if MANIFEST in manifest.members:
        raise root.refuse(f"{MANIFEST} cannot hold its own hash")
    for name in needed:
        if name not in manifest.members:
            raise root.refuse(f"{name} is missing")
    for name in manifest.members:
        if name not in needed and not name.startswith(FOREIGN):
            raise root.refuse(f"{name} has no purpose; members of other tools go under {FOREIGN}")
    shape, count = manifest.golden.shape, manifest.golden.count
    if shape[:2] != (manifest.input.height, manifest.input.width):
        raise Field(None, "golden.shape").refuse("it is not the shape of the input")
    sizes = {GOLDEN_INPUTS: count * shape[0] * shape[1] * 3, GOLDEN_OUTPUTS: count * manifest.dim * 4}
    for name, size in sizes.items():
        if manifest.members[name].size != size:
            raise root.refuse(f"{name} has {manifest.members[name].size} bytes; {size} follow from its shape")
