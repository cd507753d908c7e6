"""Every error that edgemeta raises: each is an `EdgemetaError` and the builtin that fits it.

A message says what was wrong, where, and what to do about it. Text that came from a file is passed through
`edgemeta.terminal.printable` before it enters a message.
"""

from __future__ import annotations


class EdgemetaError(Exception):
    """Base of all errors of this library."""


class InputError(EdgemetaError, ValueError):
    """An image, an embedding or a label that cannot be used. Nothing was learned from it."""


class ImageError(InputError):
    """Not an image that the bundle can take: shape, dtype, size or file."""


class EmbeddingError(InputError):
    """Not an embedding: shape, dtype, NaN, infinity, zero or too large a norm."""


class LabelError(InputError):
    """Not a label: labels are non-empty strings of at most 255 bytes of UTF-8 without control characters."""


class OptionError(EdgemetaError, ValueError):
    """An option has a value that it cannot have."""


class NotTaughtError(EdgemetaError, RuntimeError):
    """A prediction was asked for before anything was taught."""


class NotFoundError(EdgemetaError, LookupError):
    """No such label, example, transaction, member or variant."""


class HeadError(EdgemetaError, ValueError):
    """The head does not exist, or what it needs was sealed away."""


class MissingDependencyError(EdgemetaError, ImportError):
    """An optional package is needed; the message holds the command that installs it."""


class RunnerError(EdgemetaError, RuntimeError):
    """The inference runtime refused the graph, the provider or the input."""


class BundleError(EdgemetaError, ValueError):
    """A bundle that cannot be opened."""


class BundleDamagedError(BundleError):
    """The bundle is truncated, altered or not a bundle at all."""


class BundleVersionError(BundleError):
    """The bundle was written by a newer edgemeta."""


class BundleMissingError(EdgemetaError, FileNotFoundError):
    """There is no bundle of that name."""


class JournalError(EdgemetaError):
    """Base of the errors of the journal, the file that holds what was taught."""


class JournalDamagedError(JournalError, ValueError):
    """Damage in the middle of the journal. `edgemeta repair` recovers every whole record."""


class JournalVersionError(JournalError, ValueError):
    """The journal was written by a newer edgemeta."""


class JournalMismatchError(JournalError, ValueError):
    """The journal belongs to another backbone, or holds classes where numbers are meant, or the reverse."""


class JournalMissingError(JournalError, FileNotFoundError):
    """There is no journal of that name."""


class JournalLockedError(JournalError, BlockingIOError):
    """Another writer holds the journal, or the file system cannot lock."""


class JournalReadOnlyError(JournalError, PermissionError):
    """The journal was opened for reading, or its file cannot be written."""


class JournalWriteError(JournalError, OSError):
    """The disk refused a write (full, broken). What was learned before is still there."""


class MergeError(JournalError, ValueError):
    """Two journals that cannot be united exactly."""


class DataError(EdgemetaError, ValueError):
    """A data set or its spec that cannot be used."""


class DataMissingError(EdgemetaError, FileNotFoundError):
    """A data set is not where it was said to be."""


class CheckpointError(EdgemetaError, ValueError):
    """A training checkpoint that is missing, damaged or of another architecture."""


class RecoveredWarning(UserWarning):
    """A torn tail was cut off a journal when it was opened."""
