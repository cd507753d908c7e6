"""Regression in C against the NumPy reference, in both forms, by every instruction set of this machine."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from library import kernel_names, kernels, load, memory, pointer

from edgemeta.normalisation import Normalisation, to_float
from edgemeta.regression.facts import NumberFacts
from edgemeta.regression.ridge import RidgeRegression
from edgemeta.regression.sums import TargetSums
from edgemeta.regression.targets import exponents, parts

NAMES = ("portable", "sse2", "avx2", "avx512", "neon", "neon-dotprod")
# N and D: the examples' form and the moment's, about the border between them, and past the blocks of both.
SHAPES = [(1, 5), (3, 12), (10, 64), (23, 24), (24, 24), (60, 17), (130, 200), (150, 61)]


@pytest.fixture(params=NAMES)
def kernel(request):
    load()
    if request.param not in kernel_names():
        pytest.skip(f"this machine has no {request.param}")
    return kernels(request.param)


def made(total: int, dim: int, outputs: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Inputs, and targets of laws from clear to none, in units that differ."""
    z = to_float(Normalisation().apply(rng.normal(size=(total, dim))))
    law = rng.normal(size=(dim, outputs))
    noise = 10.0 ** np.linspace(-1.5, 1.0, outputs)
    y = (z @ law + noise * rng.normal(size=(total, outputs)) + 3.0) * 10.0 ** rng.integers(-6, 6, outputs)
    scale = exponents(np.abs(y).max(axis=0))
    return z, np.ldexp(sum(parts(y, scale)), scale)  # on the grid on which NumPy's sums are exact


def facts_of(z: np.ndarray, y: np.ndarray) -> NumberFacts:
    scale = exponents(np.abs(y).max(axis=0))
    high, low = parts(y, scale)
    sums = TargetSums(z.shape[1], y.shape[1])
    sums.change(z, y, 1)
    sums.start()
    sums.add_to_sums(z, y)
    return NumberFacts(
        *(len(z), len(z), z.sum(axis=0), float((z * z).sum()), np.ldexp(1.0, scale), lambda: z.T @ z, lambda: sums),
        *(lambda: (z, high + low), lambda: np.arange(len(z))),
    )


def room(dim: int, outputs: int, total: int) -> tuple[ctypes.c_void_p, ctypes.c_size_t]:
    size = load().em_regression_size
    size.restype = ctypes.c_size_t
    needed = size(dim, outputs, total)
    assert needed > 0
    return memory(needed), ctypes.c_size_t(needed)


def fitted(kernel, z: np.ndarray, y: np.ndarray, lambda_: float | None) -> dict[str, np.ndarray]:
    (total, dim), outputs = z.shape, y.shape[1]
    out = {"weights": np.full((outputs, dim), 7.0)}
    out |= {name: np.full(outputs, 7.0) for name in ("bias", "lambda_", "sigma")}
    asked = ctypes.c_double(-1.0 if lambda_ is None else lambda_)
    given = (pointer(z), pointer(y), total, dim, outputs, asked, *room(dim, outputs, total))
    status = load().em_regression(kernel, *given, *map(pointer, out.values()))
    assert status == 0, load().em_status_name(status)
    return out


def deviations(kernel, z: np.ndarray, fit: dict[str, np.ndarray], at: np.ndarray) -> np.ndarray:
    (total, dim), outputs = z.shape, len(fit["bias"])
    out = np.full((len(at), outputs), 7.0)
    given = (pointer(z), total, dim, outputs, pointer(fit["lambda_"]), pointer(fit["sigma"]), pointer(at), len(at))
    status = load().em_regression_std(kernel, *given, *room(dim, outputs, total), pointer(out))
    assert status == 0, load().em_status_name(status)
    return out


def near(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-8) -> None:
    assert np.linalg.norm(found - expected) <= tolerance * np.linalg.norm(expected)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("lambda_", [None, 1e-3, 0.5, 1e4])
def test_the_same_fit(kernel, shape, lambda_, rng):
    z, y = made(*shape, 3, rng)
    expected = RidgeRegression(lambda_).solve(facts_of(z, y))
    found = fitted(kernel, z, y, lambda_)
    np.testing.assert_allclose(found["lambda_"], expected.lambda_, rtol=1e-12)
    for k in range(3):
        near(found["weights"][k], expected.weights[k])
        assert found["bias"][k] == pytest.approx(expected.bias[k], rel=1e-8)
    new = to_float(Normalisation().apply(rng.normal(size=(7, shape[1]))))
    at = np.concatenate([new, z[:2]])
    std = deviations(kernel, z, found, at)
    if expected.sigma is None:
        assert np.isnan(found["sigma"]).all() and np.isnan(std).all() and shape[0] < 4
        return
    np.testing.assert_allclose(found["sigma"], expected.sigma, rtol=1e-8)
    np.testing.assert_allclose(std, expected.stds(at), rtol=1e-8)


@pytest.mark.parametrize("shape", [(23, 24), (10, 64), (60, 17)])
def test_at_the_floor_of_lambda(kernel, shape, rng):
    z, y = made(*shape, 2, rng)
    expected = RidgeRegression(0.0).solve(facts_of(z, y))
    found = fitted(kernel, z, y, 0.0)
    np.testing.assert_allclose(found["lambda_"], expected.lambda_, rtol=1e-12)
    near(found["weights"], expected.weights, 1e-6)


def test_the_evidence_tells_laws_from_noise(kernel, rng):
    """So that the test of the choice can fail: the lambdas of one fit differ."""
    z, y = made(150, 61, 3, rng)
    lambdas = fitted(kernel, z, y, None)["lambda_"]
    assert lambdas[0] < lambdas[1] < lambdas[2]


@pytest.mark.parametrize("total", [9, 30])
def test_what_says_nothing(kernel, total, rng):
    """Inputs that are all alike, targets that are, and targets of zero."""
    z, y = made(total, 12, 3, rng)
    y[:, 1], y[:, 2] = 4.0, 0.0
    found = fitted(kernel, z, y, None)
    assert np.abs(found["weights"][1:]).max() == 0.0 and found["bias"][1] == 4.0 and found["bias"][2] == 0.0
    assert (found["sigma"][1:] == 0.0).all() and found["sigma"][0] > 0.0
    z[:] = z[0]
    expected, found = RidgeRegression().solve(facts_of(z, y)), fitted(kernel, z, y, None)
    np.testing.assert_allclose(found["lambda_"], expected.lambda_, rtol=1e-12)
    np.testing.assert_allclose(found["sigma"][0], expected.sigma[0], rtol=1e-8)
    np.testing.assert_allclose(found["weights"], 0.0, atol=1e-6 * np.abs(y[:, 0]).max())


def test_what_is_refused_changes_nothing(rng):
    z, y = made(10, 6, 2, rng)
    place, size = room(6, 2, 10)
    out = [np.full((2, 6), 7.0), *(np.full(2, 7.0) for _ in range(3))]
    nothing = ctypes.c_void_p(None)

    def fit(kernel=None, z=z, y=y, total=10, dim=6, lambda_=-1.0, at=place, room=size, to=None) -> int:
        by = kernels() if kernel is None else kernel
        given = (pointer(z), pointer(y), total, dim, 2, ctypes.c_double(lambda_), at, room)
        return load().em_regression(by, *given, *(map(pointer, out) if to is None else to))

    assert fit(kernel=nothing) == fit(z=None) == fit(y=None) == fit(at=nothing) == -1
    for i in range(4):
        assert fit(to=[nothing if i == k else pointer(each) for k, each in enumerate(out)]) == -1
    assert fit(total=0) == fit(dim=0) == fit(dim=65537) == -2
    assert fit(room=ctypes.c_size_t(size.value - 1)) == -4
    assert fit(lambda_=float("nan")) == fit(lambda_=float("inf")) == -3
    for array, bad in ((z, np.nan), (y, np.inf), (y, 1e101), (z, -np.inf)):
        kept = array[3, 1]
        array[3, 1] = bad
        assert fit() == -3
        array[3, 1] = kept
    assert all((each == 7.0).all() for each in out)
    assert fit() == 0
    lambdas, sigma, std, at = out[2], out[3], np.full((10, 2), 7.0), z.copy()

    def deviate(lambdas=lambdas, sigma=sigma, at=at, to=std, place=place, room=size) -> int:
        given = (pointer(z), 10, 6, 2, pointer(lambdas), pointer(sigma), pointer(at), 10, place, room, pointer(to))
        return load().em_regression_std(kernels(), *given)

    assert deviate(lambdas=None) == deviate(sigma=None) == deviate(at=None) == deviate(to=None) == -1
    assert deviate(room=ctypes.c_size_t(size.value - 1)) == -4
    for bad in (0.0, -1.0, np.nan, np.inf):
        assert deviate(lambdas=np.array([0.1, bad])) == -3
    assert deviate(sigma=np.array([0.1, -1.0])) == deviate(sigma=np.array([np.inf, 1.0])) == -3
    at[9, 5] = np.nan
    assert deviate() == -3
    assert (std == 7.0).all()
