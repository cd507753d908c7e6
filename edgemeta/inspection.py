"""What a bundle or a journal holds, as plain JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .bundle import Bundle
from .journal import Journal

# The background in one number: of which 5 % of the inputs of 5 classes with 1 example each are farther.
SHOTS, WAYS, RATE = 1, 5, 0.05


def describe(path: Path) -> dict[str, Any]:
    """A record of the file at `path`. Raises BundleError or JournalError when it is damaged or neither."""
    with path.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    return describe_bundle(Bundle.open(path)) if is_zip or path.suffix == ".edgemeta" else describe_journal(path)


def describe_bundle(bundle: Bundle) -> dict[str, Any]:
    """The manifest in words."""
    manifest, contract = bundle.manifest, bundle.input
    n = bundle.normalisation
    steps = [
        *(["centre"] if n.centre is not None else []),
        *([f"power {n.power}"] if n.power != 1.0 else []),
        *(["L2"] if n.l2 else []),
        *([f"scale {n.scale}"] if n.scale != 1.0 else []),
    ]
    return {
        "kind": "bundle",
        "name": bundle.name,
        "bytes": bundle.nbytes,
        "sha256": bundle.sha256,
        "embedding": {
            "id": bundle.embedding_id.hex(),
            "dim": bundle.dim,
            "normalisation": ", ".join(steps) or "none",
        },
        "input": f"{contract.dtype} {contract.layout} {contract.height} x {contract.width} {contract.colour}",
        "head": {
            "name": bundle.head.name,
            "lambda": bundle.head.lambda_,
            "temperature": bundle.head.temperature,
        },
        "variants": [
            {
                "name": v.name,
                "runtime": v.runtime,
                "precision": v.precision,
                "bytes": manifest.members[v.member].size,
            }
            for v in bundle.variants
        ],
        "golden": {"count": manifest.golden.count, "tolerance": manifest.golden.tolerance},
        **_optional(bundle),
        "licences": [{"what": x.what, "licence": x.licence, "copyright": x.copyright} for x in manifest.licences],
        "training": manifest.training,
    }


def _optional(bundle: Bundle) -> dict[str, Any]:
    """What not every bundle has."""
    record: dict[str, Any] = {}
    if bundle.background is not None:
        record["background"] = {
            "classes": bundle.background.classes,
            "source": bundle.background.source,
            f"threshold at {SHOTS} shot, {WAYS} ways, rate {RATE}": bundle.background.threshold(SHOTS, WAYS, RATE),
        }
    if bundle.prior is not None:
        p = bundle.prior
        record["prior"] = {"labels": list(p.labels), "within": p.within, "between": p.between, "kappa": p.kappa}
    return record


def describe_journal(path: Path) -> dict[str, Any]:
    """What was taught, without the embeddings."""
    with Journal.peek(path) as journal:
        record: dict[str, Any] = {
            "kind": "journal",
            "bytes": journal.nbytes,
            "uuid": journal.uuid.hex(),
            "embedding": {"id": journal.embedding_id.hex(), "dim": journal.dim},
            **_taught(journal),
            "examples": len(journal.live),
            "sealed": sum(seal.count for seal in journal.seals.values()),
        }
        if journal.recovered is not None:
            record["torn tail"] = str(journal.recovered)
        return record


def _taught(journal: Journal) -> dict[str, Any]:
    if journal.targets and 0 not in journal.targets:
        return {"targets": max(journal.targets)}
    return {"labels": journal.counts()}
