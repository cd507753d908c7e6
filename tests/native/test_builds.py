"""The core as its users build it: CMake, pkg-config, C++, one freestanding object, and parsers on fuzzed inputs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from library import BUILD, ROOT

NATIVE = ROOT / "native"
FUZZ = ROOT / "tests" / "native" / "fuzz"
STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Werror")
# What a compiler or linker brings itself: its library's helpers, and what is known of the processor.
OWN = ("__aeabi_", "__cpu_model", "__cpu_features2", "_GLOBAL_OFFSET_TABLE_")
ARM = {
    "cortex-m4": "-Os -mcpu=cortex-m4 -mfpu=fpv4-sp-d16 -mfloat-abi=hard",
    "cortex-m7": "-Os -mcpu=cortex-m7 -mfpu=fpv5-d16 -mfloat-abi=hard",
}

# Learns three classes by ridge; prints every bit of the weights, and what an embedding to a power comes to.
PROGRAM = r"""
#include <edgemeta.h>
#include <stdio.h>
#include <string.h>

static union { double align; unsigned char bytes[1 << 16]; } memory;

int main(void)
{
    const em_kernels *kernels = em_kernels_find("portable");
    unsigned char *at = memory.bytes + (EM_ALIGN - (size_t)memory.bytes % EM_ALIGN) % EM_ALIGN;
    double z[9 * 16], sums[3 * 16], counts[3] = {3, 3, 3}, squares = 0, weights[3 * 16], bias[3];
    uint32_t y[9];
    float raw[16] = {3.0f, -4.0f, 0.5f};
    int32_t q20[16];
    em_facts facts;
    memset(sums, 0, sizeof sums);
    for (uint32_t n = 0; n < 9; n++) {
        y[n] = n % 3;
        for (uint32_t i = 0; i < 16; i++) {
            z[n * 16 + i] = ((double)((n * 7 + i * 5 + n * i) % 11) - 5) / 64;
            sums[y[n] * 16 + i] += z[n * 16 + i];
            squares += z[n * 16 + i] * z[n * 16 + i];
        }
    }
    facts.classes = 3;
    facts.dim = 16;
    facts.total = 9;
    facts.counts = counts;
    facts.sums = sums;
    facts.squares = squares;
    facts.moment = NULL;
    facts.z = z;
    facts.y = y;
    printf("%s %d", EM_VERSION, em_ridge(kernels, &facts, 0.5, 0, at, 1 << 15, weights, bias));
    for (uint32_t i = 0; i < 3 * 16; i++) {
        unsigned char bits[8];
        memcpy(bits, weights + i, 8);
        for (int k = 0; k < 8; k++)
            printf("%s%02x", k ? "" : " ", bits[k]);
    }
    printf(" %d", em_normalise(raw, 16, NULL, 1.0, 1, 1.0, q20));
    for (int i = 0; i < 4; i++)
        printf(" %d", (int)q20[i]);
    printf(" %d\n", em_normalise(raw, 16, NULL, 0.5, 1, 1.0, q20));
    return 0;
}
"""

LISTS = """
cmake_minimum_required(VERSION 3.16)
project(user LANGUAGES {language})
find_package(edgemeta 0.1 REQUIRED)
add_executable(shared {source})
target_link_libraries(shared edgemeta::edgemeta)
add_executable(static {source})
target_link_libraries(static edgemeta::edgemeta_static)
"""


def need(*tools: str) -> None:
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool}")


def run(*command: object, **kwargs) -> str:
    """What it printed; what it complained of is in the error where it fails."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **kwargs)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def make(*what: object) -> str:
    need("cc", "make")
    return run("make", "-s", "-C", NATIVE, *what)


@pytest.fixture(scope="module")
def build(tmp_path_factory) -> Path:
    """The libraries, and a program linked with the static one."""
    folder = tmp_path_factory.mktemp("build")
    make(f"BUILD={folder}", "CFLAGS=-O2")
    return folder


@pytest.fixture(scope="module")
def expected(build, tmp_path_factory) -> str:
    """What the program prints with the static library."""
    return with_library(tmp_path_factory.mktemp("program"), build / "libedgemeta.a", "-lm")


def with_library(folder: Path, *rest: object) -> str:
    (folder / "program.c").write_text(PROGRAM)
    command = ["cc", "-std=c99", *STRICT, f"-I{NATIVE}", folder / "program.c", "-o", folder / "program", *rest]
    run(*command)
    return run(folder / "program")


# ---- what is installed -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    need("cc", "cmake", "make")
    folder = tmp_path_factory.mktemp("cmake")
    options = (f"-DCMAKE_INSTALL_PREFIX={folder / 'usr'}", "-DCMAKE_C_FLAGS=-Werror", "-DCMAKE_INSTALL_LIBDIR=lib")
    run("cmake", "-S", NATIVE, "-B", folder / "build", "-G", "Unix Makefiles", *options)
    run("cmake", "--build", folder / "build")
    run("cmake", "--install", folder / "build")
    return folder / "usr"


@pytest.mark.parametrize(("language", "source"), [("C", "user.c"), ("CXX", "user.cpp")])
def test_find_package(installed, expected, tmp_path, language, source):
    need("c++" if language == "CXX" else "cc")
    (tmp_path / source).write_text(PROGRAM)
    (tmp_path / "CMakeLists.txt").write_text(LISTS.format(language=language, source=source))
    run("cmake", "-S", tmp_path, "-B", tmp_path / "build", "-G", "Unix Makefiles", f"-DCMAKE_PREFIX_PATH={installed}")
    run("cmake", "--build", tmp_path / "build")
    for kind in ("shared", "static"):
        assert run(tmp_path / "build" / kind) == expected


def test_another_minor_version_is_not_found(installed, tmp_path):
    (tmp_path / "CMakeLists.txt").write_text(LISTS.format(language="C", source="user.c").replace(" 0.1 ", " 0.2 "))
    (tmp_path / "user.c").write_text(PROGRAM)
    found = subprocess.run(
        ["cmake", "-S", str(tmp_path), "-B", str(tmp_path / "build"), f"-DCMAKE_PREFIX_PATH={installed}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode != 0 and "edgemeta" in found.stderr


def by_pkg_config(prefix: Path, folder: Path, compiler: str, source: str) -> str:
    """The program built with what pkg-config says of the library below `prefix`."""
    need("pkg-config", compiler)
    environment = os.environ | {"PKG_CONFIG_PATH": str(prefix / "lib" / "pkgconfig")}
    flags = run("pkg-config", "--cflags", "--libs", "edgemeta", env=environment).split()
    (folder / source).write_text(PROGRAM)
    run(compiler, *STRICT, folder / source, "-o", folder / "user", *flags, f"-Wl,-rpath,{prefix / 'lib'}")
    return run(folder / "user")


@pytest.mark.parametrize(("compiler", "source"), [("cc", "user.c"), ("c++", "user.cpp")])
def test_pkg_config_after_cmake(installed, expected, tmp_path, compiler, source):
    assert by_pkg_config(installed, tmp_path, compiler, source) == expected


@pytest.mark.parametrize(("compiler", "source"), [("cc", "user.c"), ("c++", "user.cpp")])
def test_pkg_config_after_make_install(build, expected, tmp_path, compiler, source):
    make("install", f"BUILD={build}", "CFLAGS=-O2", f"PREFIX={tmp_path / 'usr'}")
    assert by_pkg_config(tmp_path / "usr", tmp_path, compiler, source) == expected


def test_make_install_into_a_package(build, tmp_path):
    make("install", f"BUILD={build}", "CFLAGS=-O2", "PREFIX=/opt/edgemeta", f"DESTDIR={tmp_path}")
    there = tmp_path / "opt" / "edgemeta"
    assert (there / "include" / "edgemeta.h").read_bytes() == (NATIVE / "edgemeta.h").read_bytes()
    assert (there / "lib" / "libedgemeta.so").resolve().name.startswith("libedgemeta.so.0.1.")
    said = (there / "lib" / "pkgconfig" / "edgemeta.pc").read_text()
    assert str(tmp_path) not in said and "@" not in said and "prefix=/opt/edgemeta\n" in said


@pytest.mark.parametrize("standard", ["c++98", "c++11", "c++20"])
def test_the_header_is_clean_cplusplus(tmp_path, standard):
    need("c++")
    (tmp_path / "user.cpp").write_text("#include <edgemeta.h>\nint main() { return em_status_name(0) == 0; }\n")
    run("c++", f"-std={standard}", *STRICT, "-Wold-style-cast", f"-I{NATIVE}", "-fsyntax-only", tmp_path / "user.cpp")


def test_nothing_else_is_exported(build):
    need("nm")
    names = run("nm", "-D", "--defined-only", "--format=posix", build / "libedgemeta.so").split("\n")
    found = {line.split()[0] for line in names if line}
    declared = (NATIVE / "edgemeta.h").read_text()
    assert found and all(name.startswith("em_") and f"{name}(" in declared for name in found)


def test_nothing_writable_is_global(build):
    """Constants with addresses in them (.data.rel.ro) are filled in when it is loaded, and then read-only."""
    need("size")
    sections = [line.split() for line in run("size", "-A", build / "libedgemeta.a").split("\n")]
    sizes = {line[0]: 0 for line in sections if len(line) == 3}
    for name, size in ((line[0], line[1]) for line in sections if len(line) == 3 and line[1].isdigit()):
        sizes[name] += int(size)
    writable = {name for name in sizes if name.startswith((".data", ".bss", ".tdata", ".tbss", ".sdata", ".sbss"))}
    assert sizes[".text"] > 0 and not any(sizes[name] for name in writable if not name.startswith(".data.rel.ro"))


# ---- the head alone --------------------------------------------------------------------------------------------------


def undefined(nm: str, made: Path) -> set[str]:
    found = {line.split()[0] for line in run(nm, "-u", "--format=posix", made).split("\n") if line}
    return {name for name in found if not name.startswith(OWN)}


def test_the_head_needs_nothing(tmp_path):
    need("nm")
    make("head", f"BUILD={tmp_path}")
    assert undefined("nm", tmp_path / "edgemeta_head.o") <= {"memcpy", "memmove", "memset", "memcmp"}


@pytest.mark.parametrize("cpu", ARM)
def test_the_head_for_a_cortex_m_needs_nothing(tmp_path, cpu):
    need("arm-none-eabi-gcc", "arm-none-eabi-nm")
    make("head", f"BUILD={tmp_path}", "CC=arm-none-eabi-gcc", f"CFLAGS={ARM[cpu]}")
    assert undefined("arm-none-eabi-nm", tmp_path / "edgemeta_head.o") <= {"memcpy", "memmove", "memset", "memcmp"}


def test_the_head_computes_the_same(expected, tmp_path):
    """All but powers, which it has no function for."""
    make("head", f"BUILD={tmp_path}", "CFLAGS=-O2")
    lines = with_library(tmp_path, tmp_path / "edgemeta_head.o").split()
    wanted = expected.split()
    assert lines[:-1] == wanted[:-1] and (lines[-1], wanted[-1]) == ("-13", "0")


ROOTS = r"""
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

double em_own_sqrt(double x);

int main(void)
{
    uint64_t bits = 88172645463325252u;
    int wrong = 0;
    for (int i = 0; i < 1000000; i++) {
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        uint64_t tried = i % 5 ? bits : bits >> i % 64; /* small numbers, subnormal ones, 0 */
        double x, own, right;
        memcpy(&x, &tried, 8);
        own = em_own_sqrt(x);
        right = sqrt(x);
        wrong += memcmp(&own, &right, 8) != 0 && !(own != own && right != right);
    }
    printf("%d\n", wrong);
    return 0;
}
"""


def test_the_square_root_of_its_own_is_right_to_the_bit(tmp_path):
    need("cc")
    (tmp_path / "roots.c").write_text(ROOTS)
    run("cc", "-std=c99", *STRICT, "-O2", "-ffreestanding", f"-I{NATIVE / 'freestanding'}", f"-I{NATIVE}",
        "-Dsqrt=em_own_sqrt", "-c", NATIVE / "freestanding.c", "-o", tmp_path / "own.o")  # fmt: skip
    run("cc", "-std=c99", *STRICT, "-O2", tmp_path / "roots.c", tmp_path / "own.o", "-lm", "-o", tmp_path / "roots")
    assert run(tmp_path / "roots") == "0\n"


# ---- programs that look for mistakes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["bundle", "head", "journal", "reload"])
def test_the_parsers_on_the_corpora_of_the_fuzzers(target):
    """`make fuzz` goes on from these inputs. A program that finds something wrong aborts."""
    make(f"BUILD={BUILD}", f"{BUILD}/replay-{target}")
    inputs = sorted((FUZZ / "corpus" / target).iterdir())
    assert run(BUILD / f"replay-{target}", *inputs) == f"{len(inputs)} inputs\n" and inputs


def test_the_corpora_are_small():
    assert sum(path.stat().st_size for path in (FUZZ / "corpus").rglob("*")) < 100_000


def test_threads_on_objects_of_their_own():
    make(f"BUILD={BUILD}", f"{BUILD}/threads")
    assert run(BUILD / "threads").endswith("equal results\n")
