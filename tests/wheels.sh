#!/usr/bin/env bash
# wheels.sh - wheels of edgemeta with its C core for x86-64 and 64-bit ARM, manylinux2014 (glibc 2.17), in dist/. On x86-64
# Linux.
#
#   tests/wheels.sh [-s] [VERSION ...]    VERSION: of CPython, 3.10 3.11 3.12 3.13 where none is named
#
#   -s      leave out, with a message, versions that are not on this machine, instead of failing at the end
#
# A version needs that CPython here, with its headers (from PATH, pyenv or PYTHONS="/path/python3.12 ..."); the compiler for old
# glibc and for ARM comes from PyPI (ziglang). Each wheel is installed in a clean environment and used there: those
# for x86-64 here, those for ARM under emulation where Debian has that CPython for ARM (tests/arm.sh wheels).
# PYTHON: the Python with pip that gets the compiler.
set -euo pipefail
cd "$(dirname "$0")/.."
HOME_=${WHEELS_HOME:-$PWD/build/wheels}
PYTHON=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
skip=''
while getopts sh option; do
    case $option in
    s) skip=1 ;;
    *) sed -n '2,14p' "$0"; exit 2 ;;
    esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || set -- 3.10 3.11 3.12 3.13

say() { printf 'wheels.sh: %s\n' "$*"; }
fail() { say "$*"; exit 1; }

# ---- tools ---------------------------------------------------------------------------------------------------------

# find_python VERSION: a CPython of that version with headers, in $python.
find_python() {
    local candidates=() each
    for each in ${PYTHONS:-}; do candidates+=("$each"); done
    candidates+=("$(command -v "python$1" || true)")
    if command -v pyenv >/dev/null; then
        for each in "$(pyenv root)/versions/$1".*/bin/python; do candidates+=("$each"); done
    fi
    for python in "${candidates[@]}"; do
        [ -x "$python" ] && "$python" - "$1" 2>/dev/null <<'CHECK' && return 0
import os, sys, sysconfig
there = os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))
sys.exit(not (there and "%d.%d" % sys.version_info[:2] == sys.argv[1] and sys.implementation.name == "cpython"))
CHECK
    done
    return 1
}

# The compiler, with pip's other tools, in an environment of its own.
get_tools() {
    [ -e "$HOME_/tools/.done" ] && return 0
    say "getting the compiler (ziglang) and auditwheel"
    rm -rf "$HOME_/tools"
    "$PYTHON" -m venv "$HOME_/tools"
    "$HOME_/tools/bin/python" -m pip install -q --disable-pip-version-check ziglang auditwheel ||
        fail 'the compiler could not be had: pip install ziglang auditwheel'
    touch "$HOME_/tools/.done"
}

# write_compiler ARCH: $HOME_/bin/ARCH-cc, which takes gcc's arguments and compiles for glibc 2.17.
write_compiler() {
    mkdir -p "$HOME_/bin"
    cat >"$HOME_/bin/$1-cc" <<COMPILER
#!/usr/bin/env bash
arguments=()
for each in "\$@"; do
    case \$each in
    -dumpmachine) echo $1-linux-gnu; exit ;;
    -march=armv8.2-a+dotprod) arguments+=(-mcpu=generic+dotprod) ;; # it has other names for these
    -L* | -Wl,-rpath,*) ;;                                          # of the Python here: nothing is taken from there
    *) arguments+=("\$each") ;;
    esac
done
export ZIG_GLOBAL_CACHE_DIR="$HOME_/cache"
exec "$HOME_/tools/bin/python" -m ziglang cc -target $1-linux-gnu.2.17 -g0 "\${arguments[@]}"
COMPILER
    chmod +x "$HOME_/bin/$1-cc"
}

# ---- one wheel -----------------------------------------------------------------------------------------------------

# environment VERSION: a virtual environment of it to build in.
environment() {
    local at=$HOME_/build-$1
    [ -e "$at/.done" ] && return 0
    rm -rf "$at"
    "$python" -m venv "$at"
    "$at/bin/python" -m pip install -q --disable-pip-version-check "setuptools>=77" wheel ||
        fail 'setuptools could not be had: pip install setuptools wheel'
    touch "$at/.done"
}

# build VERSION ARCH: the wheel, in $wheel.
build() {
    local source=$HOME_/source log=$HOME_/$1-$2.log tag=cp${1/./}
    rm -rf "$source" "dist/edgemeta-"*"-$tag-$tag-manylinux2014_$2.whl"
    mkdir -p "$source" dist
    cp -r setup.py pyproject.toml MANIFEST.in README.md LICENSE edgemeta export native "$source/"
    find "$source" \( -name '*.so' -o -name '__pycache__' \) -prune -exec rm -rf {} +
    if ! (cd "$source" && CC="$HOME_/bin/$2-cc" LDSHARED="$HOME_/bin/$2-cc -shared -s" \
        SETUPTOOLS_EXT_SUFFIX=".cpython-${1/./}-$2-linux-gnu.so" \
        "$HOME_/build-$1/bin/python" setup.py -q bdist_wheel --plat-name "manylinux2014_$2" -d "$OLDPWD/dist") \
        >"$log" 2>&1; then
        tail -n 20 "$log"
        fail "the wheel for $2 and Python $1 was not built; see $log"
    fi
    wheel=$(echo "dist/edgemeta-"*"-$tag-$tag-manylinux2014_$2.whl")
    [ -e "$wheel" ] || fail "no wheel for $2 and Python $1 came out; see $log"
}

# inspect VERSION ARCH: that the extension is in it, for that machine, and asks for nothing newer than glibc 2.17.
inspect() {
    "$HOME_/tools/bin/python" tests/wheel_symbols.py "$wheel" --machine "$2" --python "$1" || exit 1
    "$HOME_/tools/bin/python" -m auditwheel show "$wheel" >"$HOME_/audit.log" 2>&1 ||
        { cat "$HOME_/audit.log"; fail "auditwheel refuses $wheel"; }
    tr '\n' ' ' <"$HOME_/audit.log" | grep -q "manylinux_2_17_$2\|manylinux2014_$2\|manylinux_2_5_$2" ||
        { cat "$HOME_/audit.log"; fail "auditwheel does not find manylinux2014 in $wheel"; }
}

# use VERSION: install the wheel in a clean environment and let it learn and predict.
use() {
    local at=$HOME_/test-$1
    rm -rf "$at"
    "$python" -m venv "$at"
    "$at/bin/python" -m pip install -q --disable-pip-version-check "$wheel[onnx,images]" ||
        fail "$wheel cannot be installed for Python $1"
    cp tests/arm_python.py "$at/try.py"
    (
        cd "$at"
        unset PYTHONPATH EDGEMETA_KERNELS
        export OMP_NUM_THREADS=1
        bin/edgemeta info >info.txt
        names='numpy, portable, sse2'
        for each in avx2 avx512f; do ! grep -qw $each /proc/cpuinfo || names="$names, ${each%f}"; done
        grep -q "kernels here  *$names\$" info.txt || { cat info.txt; fail "the kernels of $wheel are not $names"; }
        bin/python try.py --kernels "${names##* }"
    ) || exit 1
    rm -rf "$at"
}

# ---- all -----------------------------------------------------------------------------------------------------------

mkdir -p "$HOME_"
HOME_=$(cd "$HOME_" && pwd)
[ "$(uname -sm)" = 'Linux x86_64' ] || fail "wheels are built on x86-64 Linux, not on $(uname -sm)"
get_tools
write_compiler x86_64
write_compiler aarch64
built=() absent=()
for version in "$@"; do
    if ! find_python "$version"; then
        absent+=("$version")
        say "there is no CPython $version with headers here (PYTHONS= names one)"
        continue
    fi
    environment "$version"
    for arch in x86_64 aarch64; do
        build "$version" "$arch"
        inspect "$version" "$arch"
        built+=("$wheel")
    done
    wheel=$(echo dist/edgemeta-*-"cp${version/./}-cp${version/./}"-manylinux2014_x86_64.whl)
    use "$version"
done
arm=()
for wheel in "${built[@]}"; do case $wheel in *aarch64*) arm+=("$wheel") ;; esac; done
[ ${#arm[@]} -eq 0 ] || PYTHON=$PYTHON tests/arm.sh ${skip:+-s} wheels "${arm[@]}"
say "done: ${#built[@]} wheels in dist/"
[ ${#absent[@]} -eq 0 ] || [ -n "$skip" ] || fail "left out: ${absent[*]}"
