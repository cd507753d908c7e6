"""The C core (native/python.c). Arrays are C-contiguous; what returns an int returns an em_status."""

from typing import Any, TypeAlias

from numpy.typing import NDArray

Buffer: TypeAlias = NDArray[Any]

NAMES: tuple[str, ...]
VERSION: str

class Kernels:
    name: str
    def __new__(cls, name: str, /) -> Kernels: ...
    def fit(
        self, pixels: Buffer, rows: int, columns: int, format: int, stride: int, height: int, width: int, out: Buffer, /
    ) -> int: ...
    def normalise(
        self,
        raw: Buffer,
        count: int,
        dim: int,
        centre: Buffer | None,
        power: float,
        l2: bool,
        scale: float,
        out: Buffer,
        /,
    ) -> int: ...
    def ridge(
        self,
        counts: Buffer,
        sums: Buffer,
        squares: float,
        moment: Buffer | None,
        z: Buffer | None,
        y: Buffer | None,
        lambda_: float,
        balance: bool,
        weights: Buffer,
        bias: Buffer,
        /,
    ) -> int: ...
    def lda(
        self,
        counts: Buffer,
        sums: Buffer,
        squares: float,
        moment: Buffer | None,
        z: Buffer | None,
        y: Buffer | None,
        shrinkage: float,
        independent: int,
        weights: Buffer,
        bias: Buffer,
        /,
    ) -> int: ...
    def ridge_leave_out(
        self,
        counts: Buffer,
        sums: Buffer,
        squares: float,
        moment: Buffer | None,
        z: Buffer | None,
        y: Buffer | None,
        lambda_: float,
        balance: bool,
        groups: Buffer | None,
        scores: Buffer,
        /,
    ) -> int: ...
    def ridge_choose(
        self,
        counts: Buffer,
        sums: Buffer,
        squares: float,
        moment: Buffer | None,
        z: Buffer | None,
        y: Buffer | None,
        balance: bool,
        groups: Buffer | None,
        /,
    ) -> float: ...
    def lda_leave_out(
        self,
        counts: Buffer,
        sums: Buffer,
        squares: float,
        moment: Buffer | None,
        z: Buffer | None,
        y: Buffer | None,
        shrinkage: float,
        independent: int,
        groups: Buffer | None,
        scores: Buffer,
        squares_left: Buffer,
        /,
    ) -> int: ...
    def scorer(self, weights: Buffer, bias: Buffer, /) -> Scorer: ...
    def moment(self, dim: int, /) -> Moment: ...

class Scorer:
    def scores(self, q20: Buffer, out: Buffer, /) -> int: ...

class Moment:
    nbytes: int
    def add(self, q20: Buffer, /) -> int: ...
    def remove(self, q20: Buffer, /) -> int: ...
    def full(self, out: Buffer, /) -> int: ...
