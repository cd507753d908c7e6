"""The journal: what a device was taught, as an append-only list of transactions in one file.

One call is one transaction is one append. What was acknowledged under `sync="call"` survives a cut of power;
what was torn vanishes whole. SPEC.md has the bytes and the rules of recovery.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence

from ..errors import (
    JournalMissingError,
    JournalReadOnlyError,
    JournalWriteError,
    NotFoundError,
    RecoveredWarning,
)
from ..terminal import printable
from . import format as fmt
from .compaction import Sealing, plan_sealing, rewrite
from .draft import Draft
from .flips import mend_transaction
from .format import Example, Identity
from .header import HEADER_SIZE, Header
from .history import take_back
from .ids import MAX_COUNTER, ExampleId, RangeSet, new_uuid
from .merge import unite
from .new import NewExample, check_example
from .opening import Recovered, Sync, check_backbone, check_options, check_targets, create, refused
from .reading import Reading
from .scan import Scan, Tail, damaged, read_header
from .state import Change, State, follow
from .store import FileStore, MemoryStore, Store


class Journal(Reading):
    """Opened by `open`, `memory` or `peek`. Not for several threads at once; a context manager.

    live: the live examples in the order of the file. seals: by the first id that each holds. recovered: the torn
    end that was cut off, or is skipped by a reader; None when there was none.
    """

    def __init__(self, store: Store, header: Header, sync: Sync, readonly: bool, targets: int | None = None) -> None:
        self._store, self._header, self._sync, self.readonly = store, header, sync, readonly
        self._targets = targets
        self.recovered: Recovered | None = None
        self._closed = False
        self._unusable: str | None = None  # why nothing can be written until the journal is opened again
        self._own = False  # whether the current uuid may give ids in this session
        self._tail: Tail | None = None
        self._load(store, header)

    # ---- opening and closing

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        embedding_id: bytes,
        dim: int,
        sync: Sync = "call",
        readonly: bool = False,
        targets: int | None = None,
    ) -> Journal:
        """Open a journal of the backbone `embedding_id` (32 bytes) with `dim` numbers an embedding.

        Made when missing, unless `readonly`. sync: "call" returns from each call when it is durable, "manual"
        leaves that to `sync` and `close`, "never" to the system. targets: how many numbers the target of every
        example has, 0 for none; another journal is refused before anything is written to it. None takes
        whatever there is. Raises JournalMissingError, JournalLockedError,
        JournalReadOnlyError, JournalDamagedError, JournalVersionError, JournalMismatchError, JournalWriteError,
        OptionError. Warns with RecoveredWarning when a torn end was cut off.
        """
        check_options(embedding_id, dim, sync)
        store = FileStore(path, readonly=readonly)
        return cls.over(store, embedding_id=embedding_id, dim=dim, sync=sync, readonly=readonly, targets=targets)

    @classmethod
    def memory(cls, *, embedding_id: bytes, dim: int, targets: int | None = None) -> Journal:
        """A journal that is gone with the process."""
        check_options(embedding_id, dim, "call")
        return cls.over(MemoryStore(), embedding_id=embedding_id, dim=dim, targets=targets)

    @classmethod
    def peek(cls, path: str | os.PathLike[str]) -> Journal:
        """Open for reading whatever backbone it is of. Raises as `open` does."""
        return cls.over(FileStore(path, readonly=True), embedding_id=None, dim=None, readonly=True)

    @classmethod
    def over(
        cls,
        store: Store,
        *,
        embedding_id: bytes | None,
        dim: int | None,
        sync: Sync = "call",
        readonly: bool = False,
        targets: int | None = None,
    ) -> Journal:
        """Open what lies in `store`, which is closed when that fails."""
        made = False
        try:
            if not store.exists:
                if readonly or embedding_id is None or dim is None:
                    raise JournalMissingError(f"there is no journal {printable(store.name)}")
                create(store, embedding_id, dim, sync != "call")
                made = True
            header = read_header(store)
            if embedding_id is not None and dim is not None:
                check_backbone(store.name, header, embedding_id, dim)
            journal = cls(store, header, sync, readonly, targets)
            if not readonly:
                journal._begin(made)
        except BaseException:
            store.close()
            raise
        return journal

    def _load(self, store: Store, header: Header) -> None:
        """Read everything in `store`. Takes it over only when all of it made sense."""
        size = store.size()
        state, scan = State(header), Scan(store, header, HEADER_SIZE, size)
        for _ in follow(state, scan):
            pass
        tail, mended = self._judge(scan), False
        while tail is not None and (flip := mend_transaction(store, header, scan.end, state.number)) is not None:
            self._warn(f"a flipped bit in byte {flip.offset} was corrected")
            scan, mended = Scan(store, header, scan.end, size, state.number), True
            for _ in follow(state, scan):
                pass
            tail = self._judge(scan)
        check_targets(store.name, state.targets, self._targets)
        self._store, self._header, self._mended, self._tail = store, header, mended, tail
        self._state, self._end = state, scan.end
        self.recovered = None
        if self._tail is not None:
            self.recovered = Recovered(scan.end, size - scan.end, self._tail.records)
            # A reader may see a transaction that is just being written: that is nothing odd.
            if not self.readonly or self._tail.finished:
                done = "is skipped" if self.readonly else "was cut off"
                self._warn(f"a torn end {done}: {self.recovered}. This is what a cut of power leaves")

    def _judge(self, scan: Scan) -> Tail | None:
        """What is behind the last transaction: nothing, or a torn end. Raises where it is neither."""
        limit = scan.window.limit
        tail = scan.tail() if scan.end < limit or limit < scan.header.base else None
        if tail is not None and scan.end < tail.durable:
            why = f"bytes that were written and synced (up to byte {tail.durable}) cannot be read"
            raise damaged(scan.store, scan.end, why)
        return tail

    def _warn(self, what: str) -> None:
        warnings.warn(f"{printable(self._store.name)}: {what}", RecoveredWarning, stacklevel=5)

    def _begin(self, made: bool) -> None:
        """Before the first write: the torn end goes, what is there becomes durable, ids get a safe uuid."""
        state, tail = self._state, self._tail
        try:
            self._store.settle()
            if tail is not None:
                self._store.truncate(self._end)
            if tail is not None or self._mended:
                self._store.sync()
            elif self._sync == "call" and self._end > state.synced:
                self._store.sync()  # another program may have written without
            if tail is not None or self._sync == "call":
                state.synced = self._end
        except OSError as error:
            raise self._refused(error) from None
        same_place = self._store.place() == state.place
        safe = same_place and not state.volatile and self._sync == "call" and tail is None
        self._own = made or safe
        if tail is not None:
            # Ids in the lost end may have been handed out. If this cannot be written, the next call has to.
            with contextlib.suppress(JournalWriteError):
                self._finish(self._draft())

    def close(self) -> None:
        """Sync (unless sync="never") and give the file and its lock back. Once more does nothing."""
        if self._closed:
            return
        try:
            if not self.readonly and self._sync == "manual" and self._unusable is None:
                self.sync()
        finally:
            self._closed = True
            self._store.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            self._closed = True
            self._store.close()

    # ---- what can be done to it

    def append(self, examples: Sequence[NewExample]) -> Change:
        """Teach; one transaction. Raises LabelError, EmbeddingError, InputError before anything, JournalWriteError."""
        checked = [check_example(each, self.dim, self._targets) for each in examples]
        draft = self._draft()
        for label, group, each in checked:
            draft.example(
                fmt.encode_example(
                    Example(draft.new_id(), label, each.embedding, group, each.variant, each.input, each.target)
                )
            )
        return self._finish(draft) if draft else Change()

    def forget(self, ids: Iterable[ExampleId]) -> Change:
        """Forget these examples. Raises NotFoundError (also for a sealed one) before anything."""
        ids = list(ids)
        for each in ids:
            self._entry(each)
        draft = self._draft()
        draft.tombstones(RangeSet.of_ids(ids))
        return self._finish(draft) if draft else Change()

    def forget_label(self, label: str) -> Change:
        """Forget a class, the sealed examples too. Raises NotFoundError."""
        dead = RangeSet.of_ids(each for each, entry in self._state.live.items() if entry.label == label)
        for seal in self._state.seals.values():
            for part in seal.ranges if seal.label == label else ():
                dead.add(part)
        if not dead:
            raise NotFoundError(f"nothing is taught as '{printable(str(label))}'")
        draft = self._draft()
        draft.tombstones(dead)
        return self._finish(draft)

    def relabel(self, each: ExampleId, label: str) -> Change:
        """Give an example another label; it gets a new id, with the old as origin. Raises NotFoundError, LabelError."""
        from dataclasses import replace

        from ..labels import check_label

        label, old = check_label(label), self.example(each)
        draft = self._draft()
        draft.tombstones(RangeSet.of_ids([each]))
        draft.example(fmt.encode_example(replace(old, id=draft.new_id(), label=label, origin=each)))
        return self._finish(draft)

    def undo(self) -> Change:
        """Take back the newest transaction that is not an undo and was not undone. Raises NotFoundError."""
        draft = self._draft()
        undoes = take_back(self._view, self._end, draft)
        return self._finish(draft, undoes=undoes)

    def merge(self, other: Journal) -> Change:
        """Take over what another journal holds and what it forgot. Raises JournalMismatchError, MergeError."""
        other.check_open()
        own = self._state.targets
        kind = self._targets if self._targets is not None or len(own) != 1 else next(iter(own))
        check_targets(other._store.name, other._state.targets, kind)
        draft = self._draft()
        if other is not self:
            unite(self._view, other._view, draft)
        return self._finish(draft, flags=fmt.COMMIT_MERGE) if draft else Change()

    def compact(self) -> int:
        """Rewrite the file without what was forgotten; the bytes saved. Nothing before it can be undone."""
        return self._rewrite(Sealing())

    def seal(self, ids_by_label: Mapping[str, Sequence[ExampleId]], *, moment: bool) -> Change:
        """Compact, and keep only the sums of these examples (and G with `moment`) where that is smaller.

        The change names what was sealed: `removed` and `seals_removed` went into `seals_added`. The sums over
        everything are the same; empty when no class was worth it, and then nothing was written.
        """
        self._check_writable()
        plan = plan_sealing(self._view, ids_by_label, moment)
        if not plan.payloads:
            return Change()
        old = self._state
        self._rewrite(plan)
        kept = {each.ranges for key, each in old.seals.items() if key not in plan.seals}
        return Change(
            removed=tuple((each, entry) for each, entry in old.live.items() if each in plan.examples),
            seals_added=tuple(each for each in self._state.seals.values() if each.ranges not in kept),
            seals_removed=tuple(each for key, each in old.seals.items() if key in plan.seals),
            reset=True,
        )

    def reload(self) -> Change:
        """Take in what another process wrote since. Nothing to do for a writer.

        Raises JournalError for what cannot be read or is another kind of journal; then nothing has changed.
        """
        self.check_open()
        if not self.readonly:
            return Change()
        fresh = self._store.renewed()
        if fresh is not None or self._store.size() < self._end:
            self._replace(fresh)
            return Change(reset=True)
        size = self._store.size()
        if size == self._end:
            return Change()
        # On a copy: what makes no sense may show only after half of it was taken in.
        state = self._state.copy()
        change, scan = Change(), Scan(self._store, self._header, self._end, size, state.number)
        for each in follow(state, scan):
            change = change.then(each)
        self._judge(scan)
        check_targets(self._store.name, state.targets, self._targets)
        self._state, self._end = state, scan.end
        return change

    def _replace(self, fresh: Store | None) -> None:
        """Read all of another file that has this one's name (or of this one, where that was cut)."""
        old, store = self._store, fresh or self._store
        try:
            header = read_header(store)
            check_backbone(store.name, header, self._header.embedding_id, self._header.dim)
            self._load(store, header)
        except BaseException:
            if fresh is not None:
                fresh.close()
            raise
        if fresh is not None:
            old.close()

    def sync(self) -> None:
        """Return when everything is durable. Raises JournalWriteError; then open the journal again."""
        self._check_writable()
        try:
            self._store.sync()
        except OSError as error:
            self._unusable = f"a sync failed ({error.strerror})"
            raise self._refused(error) from None
        self._state.synced = self._end

    # ---- writing

    def _draft(self) -> Draft:
        self._check_writable()
        if self._own and self._state.next_counter < MAX_COUNTER // 2:
            return Draft(self._state, None)
        return Draft(self._state, Identity(new_uuid(), self._store.place(), self._sync != "call"))

    def _finish(self, draft: Draft, *, undoes: int = 0, flags: int = 0) -> Change:
        """Write a transaction and take it in. On JournalWriteError nothing has changed."""
        state, end = self._state, self._end
        number = (state.number or 0) + 1
        data = draft.encode(self._header.seed, number, end, state.synced, undoes, flags)
        try:
            self._store.append(end, data)
        except OSError as error:
            self._take_back_write()
            raise self._refused(error) from None
        if self._sync == "call":
            try:
                self._store.sync()
            except OSError as error:
                # Never sync again: the system may have dropped the pages and would say that all is well.
                self._unusable = f"a sync failed ({error.strerror})"
                self._take_back_write()
                raise self._refused(error) from None
        # Read back what was written: one piece of code says what a transaction means.
        scan = Scan(self._store, self._header, end, end + len(data), state.number)
        (change,) = follow(state, scan)
        self._end, self._own = scan.end, True
        if self._sync == "call":
            state.synced = self._end
        return change

    def _take_back_write(self) -> None:
        try:
            self._store.truncate(self._end)
        except OSError as error:
            self._unusable = f"a failed write could not be taken back ({error.strerror})"

    def _rewrite(self, sealing: Sealing) -> int:
        self._check_writable()
        state, before = self._state, self._end
        uuid, counter, volatile = state.uuid, state.next_counter, self._sync != "call"
        if not self._own:
            uuid, counter = new_uuid(), 1
        try:
            rewrite(self._view, uuid, counter, volatile, sealing)
        except OSError as error:
            if read_header(self._store) != self._header:
                self._unusable = f"the folder could not be synced ({error.strerror})"
                self._reread()
            raise self._refused(error) from None
        self._reread()
        return before - self._end

    def _reread(self) -> None:
        self._load(self._store, read_header(self._store))
        self._state.synced, self._own = self._end, True

    def _refused(self, error: OSError) -> JournalWriteError:
        mend = "Make room or repair the disk, then do it again; what was learned before is still there"
        if self._unusable is not None:
            mend = "Open the journal again to see what is there; nothing more can be written until then"
        return refused(self._store, error, mend)

    def _check_writable(self) -> None:
        self.check_open()
        if self.readonly:
            raise JournalReadOnlyError(f"{printable(self._store.name)} was opened with readonly=True")
        if self._unusable is not None:
            raise JournalWriteError(f"{printable(self._store.name)}: {self._unusable}; open the journal again")
