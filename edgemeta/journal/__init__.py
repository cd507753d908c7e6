"""The journal: what was taught, in one append-only file that survives cuts of power."""

from .format import Example, Seal
from .ids import ExampleId
from .journal import Journal
from .new import NewExample
from .opening import Recovered
from .repair import RepairReport, repair
from .state import Change, Entry

__all__ = [
    "Change",
    "Entry",
    "Example",
    "ExampleId",
    "Journal",
    "NewExample",
    "Recovered",
    "RepairReport",
    "Seal",
    "repair",
]
