"""Commands that teach and ask: learn, predict, forget, undo, list, merge, compact, repair, relearn."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bundle import Bundle
from ..errors import ImageError, JournalMissingError
from ..journal import Journal, repair
from ..learner import Learner
from ..terminal import Progress, printable, table
from . import numbers

if TYPE_CHECKING:
    from ..regressor import Regressor


def add_commands(commands: Any) -> None:
    """Add this file's commands to the parser."""
    learn = _command(commands, "learn", _learn, "teach images of one class, or what number they show")
    what = learn.add_mutually_exclusive_group(required=True)
    what.add_argument("--label", help="the class")
    what.add_argument(
        "--target",
        metavar="X",
        help="instead the number to learn, or several: 1.5,-2 (--target=-2,1.5 where the first is negative)",
    )
    learn.add_argument("--group", help="what belongs together, a burst of frames for instance")
    learn.add_argument("--keep", choices=["input"], help="store the fitted images too, for `relearn`")
    learn.add_argument("images", nargs="+", metavar="IMAGE")
    predict = _command(commands, "predict", _predict, "say what images show")
    predict.add_argument("images", nargs="+", metavar="IMAGE")
    predict.add_argument("--json", action="store_true", help="one JSON object a line")
    predict.add_argument(
        "--unknown",
        type=float,
        metavar="RATE",
        help="say unknown to what resembles nothing taught; RATE of what is known may be rejected, 0.05 for instance",
    )
    report = _command(commands, "report", _report, "say how well each class is known, and what looks mislabelled")
    report.add_argument("--json", action="store_true")
    forget = _command(commands, "forget", _forget, "forget a class or one example", bundle=False)
    which = forget.add_mutually_exclusive_group(required=True)
    which.add_argument("--label", help="the class")
    which.add_argument("--example", metavar="ID", help="the id that `list --examples` shows")
    _command(commands, "undo", _undo, "take back the newest change", bundle=False)
    listing = _command(commands, "list", _list, "what is known", bundle=False)
    listing.add_argument("--examples", action="store_true", help="every example with its id")
    listing.add_argument("--json", action="store_true")
    merge = _command(commands, "merge", _merge, "take over what other files were taught", bundle=False)
    merge.add_argument("others", nargs="+", metavar="OTHER.learned")
    _command(commands, "compact", _compact, "rewrite the file without what was forgotten", bundle=False)
    mend = _command(commands, "repair", _repair, "recover every whole record of a damaged file", bundle=False)
    mend.add_argument("--out", metavar="FILE", help="write there instead of replacing the file")
    mend.add_argument("--bundle", metavar="B", help="the bundle it was taught with, for when the header is lost")
    relearn = _command(commands, "relearn", _relearn, "teach stored inputs (keep=input) to another backbone")
    relearn.add_argument("--out", required=True, metavar="NEW.learned")


def _command(commands: Any, name: str, run: Any, text: str, *, bundle: bool = True) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("file", metavar="FILE.learned")
    if bundle:
        parser.add_argument("--bundle", metavar="B", help="a bundle's path or name; found by itself if near")
        parser.add_argument("--head", default="auto", help="auto (default), or a name: see RECIPES.md")
    parser.set_defaults(run=run)
    return parser


def _open(options: argparse.Namespace, *, readonly: bool, **more: Any) -> Learner:
    return Learner(_bundle(options), options.file, head=options.head, readonly=readonly, **more)


def _bundle(options: argparse.Namespace) -> Any:
    """The bundle that was named, or the one near that the journal was taught with."""
    from ..finding import find_bundle

    if options.bundle is not None:
        return options.bundle
    _must_exist(options.file)
    with Journal.peek(options.file) as journal:
        return find_bundle(journal.embedding_id, near=Path(options.file).parent)


def _must_exist(path: str) -> None:
    if not Path(path).exists():
        raise JournalMissingError(
            f"there is no {printable(path)}; `edgemeta learn {printable(path)} --bundle B --label L IMAGE` begins one"
        )


def _open_bare(path: str, *, readonly: bool = False) -> Journal:
    """A journal without its bundle: enough to forget, undo, merge and list."""
    _must_exist(path)
    with Journal.peek(path) as seen:
        return Journal.open(path, embedding_id=seen.embedding_id, dim=seen.dim, readonly=readonly)


def _learn(options: argparse.Namespace) -> int:
    for image in options.images:
        if not image or not Path(image).exists():  # before a journal is made for nothing
            raise ImageError(f"there is no image '{printable(image)}'")
    if options.target is not None:
        return numbers.learn(options, _bundle(options))
    with _open(options, readonly=False, keep=options.keep) as learner:
        ids = learner.learn_many(options.images, options.label, group=options.group)
        for image, example in zip(options.images, ids, strict=True):
            print(f"{printable(image)}: learned as {printable(options.label)} ({example})")
        known = ", ".join(f"{printable(k)} {v}" for k, v in learner.counts.items())
        print(f"known now: {known}")
    return 0


def _predict(options: argparse.Namespace) -> int:
    targets = numbers.numbers_in(options.file)
    if targets:
        return numbers.predict(options, _bundle(options), targets)
    with _open(options, readonly=True, unknown=options.unknown) as learner:
        for image, prediction in zip(options.images, learner.predict_many(options.images), strict=True):
            if options.json:
                ranked = [{"label": a, "score": b, "confidence": c} for a, b, c in prediction.ranked]
                best = {
                    "label": prediction.label,
                    "nearest": prediction.nearest,
                    "novelty": prediction.novelty,
                    "confidence": prediction.confidence,
                    "score": prediction.score,
                }
                print(json.dumps({"image": image, **best, "ranked": ranked}))
            else:
                sure = "" if prediction.confidence is None else f"  {100 * prediction.confidence:.0f} %"
                name = printable(prediction.nearest)
                print(
                    f"{printable(image)}: "
                    + (f"unknown (nearest: {name})" if prediction.label is None else name + sure)
                )
    return 0


def _report(options: argparse.Namespace) -> int:
    targets = numbers.numbers_in(options.file)
    taught: Learner | Regressor
    if targets:
        taught = numbers.open_regressor(options, _bundle(options), targets, readonly=True)
    else:
        taught = _open(options, readonly=True)
    with taught:
        found = taught.report()
        print(json.dumps(found.to_json()) if options.json else found)
    return 0


def _forget(options: argparse.Namespace) -> int:
    from ..journal import ExampleId
    from ..labels import check_label

    with _open_bare(options.file) as journal:
        if options.label is not None:
            change = journal.forget_label(check_label(options.label))
        else:
            change = journal.forget([ExampleId.parse(options.example)])
        count = len(change.removed) + sum(seal.count for seal in change.seals_removed)
        print(f"forgot {count} example{'s' if count != 1 else ''}")
        print(f"the bytes stay in the file until `edgemeta compact {printable(options.file)}`")
    return 0


def _undo(options: argparse.Namespace) -> int:
    with _open_bare(options.file) as journal:
        change = journal.undo()
        print(f"undone: {len(change.added)} examples came back, {len(change.removed)} went")
    return 0


def _list(options: argparse.Namespace) -> int:
    with _open_bare(options.file, readonly=True) as journal:
        counts, targets = journal.counts(), numbers.numbers_in(options.file)
        if options.json:
            record: dict[str, Any] = {"examples": len(journal.live)} if targets else {"labels": counts}
            if options.examples and targets:
                record["examples"] = numbers.examples(journal)
            elif options.examples:
                record["examples"] = [
                    {"id": str(i), "label": e.label, "group": e.group} for i, e in journal.live.items()
                ]
            print(json.dumps(record))
        elif not counts:
            print("nothing is known")
        elif targets:
            said = f"{len(journal.live)} examples of {targets} number{'s' if targets > 1 else ''}"
            print(numbers.as_table(numbers.examples(journal)) if options.examples else said)
        elif options.examples:
            rows = [("example", "label", "group")]
            rows += [(str(i), printable(e.label), printable(e.group or "")) for i, e in journal.live.items()]
            print(table(rows))
        else:
            print(table([("label", "examples"), *((printable(k), str(v)) for k, v in counts.items())]))
    return 0


def _merge(options: argparse.Namespace) -> int:
    with _open_bare(options.file) as journal:
        for path in options.others:
            with _open_bare(path, readonly=True) as other:
                change = journal.merge(other)
                print(f"{printable(path)}: {len(change.added)} examples came, {len(change.removed)} went")
    return 0


def _compact(options: argparse.Namespace) -> int:
    with _open_bare(options.file) as journal:
        saved = journal.compact()
        print(f"{printable(options.file)}: {journal.nbytes} bytes, {saved} fewer")
    return 0


def _repair(options: argparse.Namespace) -> int:
    _must_exist(options.file)
    if options.bundle is None:
        print(repair(options.file, options.out))
        return 0
    bundle = Bundle.open(options.bundle)
    print(repair(options.file, options.out, embedding_id=bundle.embedding_id, dim=bundle.dim))
    return 0


def _relearn(options: argparse.Namespace) -> int:
    from ..relearning import relearn

    if options.bundle is None:
        raise JournalMissingError("say which backbone to move to: --bundle B")
    count = relearn(options.file, options.bundle, options.out, progress=Progress("relearn", None))
    print(f"{printable(options.out)}: {count} examples")
    return 0
