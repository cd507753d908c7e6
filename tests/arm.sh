#!/usr/bin/env bash
# arm.sh - the core and the package on emulated ARM, of the class of a Raspberry Pi or a Jetson. On x86-64 Debian.
#
#   tests/arm.sh [-i] [-s] [-u] [-q] [-a] [PART ...]  PART: core, count, python, python7, variants; all these where none is named
#
#   core     the golden vectors in C: Cortex-A53, A72, A76, and Cortex-A7 (ARMv7 with NEON); the neon-dotprod kernels have to
#            run on the A76 and not to be offered by the others
#   count    instructions of a prediction, an addition and so on, against tests/golden/arm_instructions.json
#   python   the package, with the ARM wheels of NumPy and ONNX Runtime: from learn to predict with the shipped bundle; and
#            that NumPy answers there as the golden vectors say
#   python7  the same on ARMv7, with Debian's NumPy and own embeddings: there are no such wheels
#   variants a bundle in every format and precision, verified, and each variant used from learn to predict: ONNX Runtime and
#            LiteRT on the Cortex-A76, tflite-runtime on ARMv7; the labels have to be those of this machine
#
#            size: what an install on a 64-bit board takes, with either runtime
#            cost: instructions of one image through each of these variants
#            wheels FILE ...: the same with wheels that tests/wheels.sh made, for the CPythons that Debian has for ARM
#
#   -i       install missing Debian packages (needs root)
#   -s       skip, with a message, what cannot be had on this machine, instead of failing
#   -u       count: write the file anew
#   -q       python: quicker, on the Cortex-A76 alone
#   -a       variants: more digits, also on the Cortex-A53 and A72, and with LiteRT 1.4.0
#
# Everything lies in build/arm (or ARM_HOME) and is used again: a root of ARM packages, unpacked and never configured,
# and wheels. PYTHON: the Python with pip that gets them, and that runs the package here to compare with.
set -euo pipefail
cd "$(dirname "$0")/.."
ARM_HOME=${ARM_HOME:-$PWD/build/arm}
PYTHON=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
install='' skip='' quick='' every='' plugin='' update=() missing=''
while getopts isuqah option; do
    case $option in
    i) install=1 ;;
    s) skip=1 ;;
    u) update=(--update) ;;
    q) quick=1 ;;
    a) every=1 ;;
    *) sed -n '2,29p' "$0"; exit 2 ;;
    esac
done
shift $((OPTIND - 1))

say() { printf 'arm.sh: %s\n' "$*"; }

# need WHAT=PACKAGE ...: whether all programs (or files) are there, after installing if that was asked for.
need() {
    absent "$@"
    if [ -n "$absent" ] && [ -n "$install" ]; then
        say "installing $absent"
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
            $absent; } >"$ARM_HOME/apt.log" 2>&1 || say "apt-get failed: $(tail -n 1 "$ARM_HOME/apt.log")"
        absent "$@"
    fi
    missing="Debian packages are missing; run: apt-get install $absent (or tests/arm.sh -i)"
    [ -z "$absent" ]
}

# The packages of what is not there, in $absent.
absent() {
    local pair
    absent=$(for pair in "$@"; do
        [[ $pair = /* && -e ${pair%%=*} ]] || command -v "${pair%%=*}" >/dev/null || echo "${pair#*=}"
    done | sort -u | paste -sd ' ')
}

# Where a part cannot be done: the end of the run, or only of the part.
cannot() {
    say "$1 is not tested: $2"
    [ -n "$skip" ] || exit 1
}

# build ARCH TRIPLET FLAGS: the programs in C, static, in build/arm/ARCH.
build() {
    make -s -C tests/native BUILD="$ARM_HOME/$1" CC="$2-gcc" AR="$2-ar" CFLAGS="-O3 $3" LDFLAGS=-static all >&2
}

build_both() {
    build aarch64 aarch64-linux-gnu ''
    build armv7 arm-linux-gnueabihf '-mfpu=neon-vfpv4'
}

have_compilers() {
    need make=make qemu-aarch64=qemu-user qemu-arm=qemu-user \
        aarch64-linux-gnu-gcc=gcc-aarch64-linux-gnu /usr/aarch64-linux-gnu/lib/libc.a=libc6-dev-arm64-cross \
        arm-linux-gnueabihf-gcc=gcc-arm-linux-gnueabihf /usr/arm-linux-gnueabihf/lib/libc.a=libc6-dev-armhf-cross
}

# ---- core ----------------------------------------------------------------------------------------------------------

# vectors CPU QEMU ARCH KERNELS: the golden vectors, and random images, whose answers have the same hash on every machine. KERNELS
# is all that has to be offered, the fastest last.
vectors() {
    local found
    say "golden vectors and images on $1"
    "$2" -cpu "$1" "$ARM_HOME/$3/golden" tests/golden "$ARM_HOME/$1.learned" | tee "$ARM_HOME/$1.log"
    found=$(sed -n 's/^\(.*\): [0-9]* checks.*/\1/p' "$ARM_HOME/$1.log" | paste -sd ' ')
    [ "$found" = "$4" ] || { say "$1 has the kernels '$found', not '$4'"; exit 1; }
    grep -q "^in use: ${4##* }\$" "$ARM_HOME/$1.log" || { say "$1 does not use ${4##* }"; exit 1; }
    found=$("$2" -cpu "$1" "$ARM_HOME/$3/image_check" 1000) || { say "$found"; exit 1; }
    echo "$found"
    found=${found%%, portable*}
    [ "${images:=$found}" = "$found" ] || { say "the images are others than before: $found, not $images"; exit 1; }
}

part_core() {
    local images=''
    have_compilers || { cannot core "$missing"; return 0; }
    build_both
    if command -v cc >/dev/null; then
        make -s -C tests/native BUILD="$ARM_HOME/here" all
        images=$("$ARM_HOME/here/image_check" 1000)
        images=${images%%, portable*}
    fi
    vectors cortex-a53 qemu-aarch64 aarch64 'portable neon'
    vectors cortex-a72 qemu-aarch64 aarch64 'portable neon'
    vectors cortex-a76 qemu-aarch64 aarch64 'portable neon neon-dotprod'
    vectors cortex-a7 qemu-arm armv7 'portable neon'
}

# ---- count ---------------------------------------------------------------------------------------------------------

make_plugin() {
    plugin=$ARM_HOME/icount.so
    cc -O2 -fPIC -shared -o "$plugin" tests/arm_icount.c
}

part_count() {
    local plugin
    have_compilers && need cc=gcc || { cannot count "$missing"; return 0; }
    build_both
    make_plugin
    "$PYTHON" tests/arm_count.py "${update[@]}" \
        --run aarch64 "qemu-aarch64 -plugin $plugin -cpu cortex-a76" "$ARM_HOME/aarch64/arm_count" \
        "$(aarch64-linux-gnu-gcc -dumpversion | sed 's/^/gcc /')" \
        --run armv7 "qemu-arm -plugin $plugin -cpu cortex-a7" "$ARM_HOME/armv7/arm_count" \
        "$(arm-linux-gnueabihf-gcc -dumpversion | sed 's/^/gcc /')"
}

# ---- python --------------------------------------------------------------------------------------------------------

triplet() { [ "$1" = arm64 ] && echo aarch64-linux-gnu || echo arm-linux-gnueabihf; }

# make_root SUITE ARCH PACKAGE ...: $root, that Debian's packages for ARM, unpacked and never configured, so nothing is emulated
# to make it. Its Python is $version.
make_root() {
    local mirror each packages
    root=$ARM_HOME/root-$1-$2
    packages=$(printf ',%s' "${@:3}")
    if [ "$(cat "$root/.done" 2>/dev/null)" != "$packages" ]; then
        mirror=$(apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | grep '/debian/*$' | head -n 1) || true
        if [ -z "$mirror" ]; then
            missing='apt knows no Debian mirror to take ARM packages from (run apt-get update?)'
            return 1
        fi
        say "unpacking ARM packages of $1"
        rm -rf "$root"
        if ! mmdebstrap --quiet --arch="$2" --variant=extract \
            --include="python3,python3-dev,libpython3-dev$packages" --aptopt='Acquire::Languages "none"' \
            --aptopt='Apt::Install-Recommends "false"' --aptopt='Acquire::Check-Valid-Until "false"' \
            --aptopt='Acquire::Check-Date "false"' "$1" "$root" "$mirror" >"$ARM_HOME/root.log" 2>&1; then
            missing="the ARM packages could not be had: $(tail -n 1 "$ARM_HOME/root.log")"
            return 1
        fi
        for each in bin sbin lib; do [ -e "$root/$each" ] || ln -s "usr/$each" "$root/$each"; done
        for each in blas lapack; do # what update-alternatives would do
            ! [ -e "$root/usr/lib/$(triplet "$2")/$each" ] ||
                ln -sf "$each/lib$each.so.3" "$root/usr/lib/$(triplet "$2")/lib$each.so.3"
        done
        rm -rf "$root"/{tmp,root,home,proc,sys} # what is not there is taken from this machine
        echo "$packages" >"$root/.done"
    fi
    version=$(basename "$(readlink "$root/usr/bin/python3")")
    version=${version#python}
}

# show CPU FEATURES: give the root the /proc/cpuinfo and /sys of a board with that processor. Else the emulator hands out
# those of this machine, which ONNX Runtime cannot make sense of on ARM.
show() {
    local part each cpus last
    case $1 in
    cortex-a53) part=0xd03 ;;
    cortex-a72) part=0xd08 ;;
    cortex-a7) part=0xc07 ;;
    *) part=0xd0b ;;
    esac
    cpus=$root/sys/devices/system/cpu last=$(($(nproc) - 1)) # as many as here, so that affinities can be set
    mkdir -p "$root/proc" "$cpus"
    for each in possible present online; do echo "0-$last" >"$cpus/$each"; done
    for each in $(seq 0 $last); do
        printf 'processor\t: %d\nBogoMIPS\t: 108.00\nFeatures\t: %s\nCPU implementer\t: 0x41\n' "$each" "$2"
        printf 'CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: %s\nCPU revision\t: 4\n\n' "$part"
        mkdir -p "$cpus/cpu$each/cpufreq" "$cpus/cpu$each/topology"
        echo 1800000 >"$cpus/cpu$each/cpufreq/cpuinfo_max_freq"
        echo 600000 >"$cpus/cpu$each/cpufreq/cpuinfo_min_freq"
        echo 0 >"$cpus/cpu$each/topology/physical_package_id"
        echo "$each" >"$cpus/cpu$each/topology/core_id"
        echo "0-$last" >"$cpus/cpu$each/topology/core_siblings_list"
    done >"$root/proc/cpuinfo"
}

# make_site WHAT ...: what pip finds for the root's Python, wheels alone, in $site.
make_site() {
    local libc machine=aarch64 glibc minor platforms=()
    [ "$(cat "$site/.done" 2>/dev/null)" != "$*" ] || return 0
    libc=$(ls "$root"/lib/*-linux-gnu*/libc.so.6)
    [[ $libc != */arm-* ]] || machine=armv7l
    glibc=$(grep -ao 'GLIBC_2\.[0-9]*' "$libc" | sort -uV | tail -n 1)
    for minor in $(seq "${glibc#GLIBC_2.}" -1 17); do platforms+=(--platform "manylinux_2_${minor}_$machine"); done
    say "getting ARM wheels for Python $version: $*"
    rm -rf "$site"
    if ! "$PYTHON" -m pip install -q --disable-pip-version-check --no-compile --only-binary=:all: --target "$site" \
        "${platforms[@]}" --platform "manylinux2014_$machine" --implementation cp --python-version "$version" \
        --abi "cp${version/./}" --abi abi3 --abi none "$@" >"$ARM_HOME/pip.log" 2>&1; then
        missing="the ARM wheels could not be had: $(grep -v '^WARNING' "$ARM_HOME/pip.log" | tail -n 1)"
        return 1
    fi
    echo "$*" >"$site/.done"
}

# make_package ARCH BUILD: the package with its extension, cross compiled for the root's Python, in $package.
make_package() {
    local to
    to=$(triplet "$1") package=$ARM_HOME/package-$1
    rm -rf "$package"
    mkdir -p "$package"
    cp -r edgemeta "$package/"
    cp -r export "$package/edgemeta/"
    find "$package" \( -name '*.so' -o -name __pycache__ \) -prune -exec rm -rf {} +
    build_both
    "$to-gcc" -std=c99 -O3 -fPIC -shared -fvisibility=hidden -I"$root/usr/include" \
        -I"$root/usr/include/python$version" -o "$package/edgemeta/_native.cpython-${version/./}-$to.so" \
        native/python.c "$ARM_HOME/$2/libedgemeta.a" -lm
}

# on CPU FEATURES [VARIABLE=VALUE ...] -- SCRIPT [OPTION ...]: a Python script there.
on() {
    local cpu=$1 emulator=qemu-aarch64 variables=()
    [ "$1" != cortex-a7 ] || emulator=qemu-arm
    show "$1" "$2"
    shift 2
    while [ "$1" != -- ]; do variables+=("$1"); shift; done
    say "$(basename "$2") on $cpu"
    env -u PYTHONHOME -u VIRTUAL_ENV -u LD_LIBRARY_PATH -u LD_PRELOAD -u EDGEMETA_KERNELS OMP_NUM_THREADS=1 \
        "${variables[@]}" PYTHONPATH="$site" PYTHONDONTWRITEBYTECODE=1 \
        "$emulator" ${plugin:+-plugin "$plugin"} -cpu "$cpu" -L "$root" "$root/usr/bin/python$version" "${@:2}"
}

OLD='fp asimd evtstrm crc32 cpuid'
NEW='fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm asimddp'
V7='half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm'

# What the package does here, to compare with.
make_expected() {
    PYTHONPATH=$PWD OMP_NUM_THREADS=1 "$PYTHON" tests/arm_python.py --out "$ARM_HOME/here.json" && return 0
    say "$PYTHON does not run tests/arm_python.py: it needs what the package needs (make test makes .venv)"
    exit 1
}

part_python() {
    local against=(tests/arm_python.py --against "$ARM_HOME/here.json")
    { have_compilers && need mmdebstrap=mmdebstrap && make_root bookworm arm64 libstdc++6 libgomp1; } ||
        { cannot python "$missing"; return 0; }
    site=$ARM_HOME/site-$version
    make_site "numpy>=1.24" "onnxruntime>=1.17" pillow || { cannot python "$missing"; return 0; }
    make_package arm64 aarch64
    make_expected
    site=$package:$site
    if [ -z "$quick" ]; then
        on cortex-a53 "$OLD" EDGEMETA_KERNELS=numpy -- "${against[@]}" --kernels numpy
        on cortex-a72 "$OLD" -- "${against[@]}" --kernels neon
    fi
    on cortex-a76 "$NEW" -- "${against[@]}" --kernels neon-dotprod
    on cortex-a76 "$NEW" -- tests/golden/reference.py
}

part_python7() {
    { have_compilers && need mmdebstrap=mmdebstrap && make_root bookworm armhf python3-numpy libstdc++6; } ||
        { cannot python7 "$missing"; return 0; }
    make_package armhf armv7
    make_expected
    site=$package:$root/usr/lib/python3/dist-packages
    on cortex-a7 "$V7" -- tests/arm_python.py --against "$ARM_HOME/here.json" --no-graph --kernels neon
    on cortex-a7 "$V7" -- tests/golden/reference.py
}

# ---- variants ------------------------------------------------------------------------------------------------------

# The bundle, and what its variants do here, to compare with.
make_variants() {
    local quickly=("$@")
    PYTHONPATH=$PWD OMP_NUM_THREADS=1 "$PYTHON" tests/arm_variants.py --make "$ARM_HOME/variants.edgemeta" &&
        PYTHONPATH=$PWD OMP_NUM_THREADS=1 "$PYTHON" tests/arm_variants.py "$ARM_HOME/variants.edgemeta" \
            --out "$ARM_HOME/variants.json" "${quickly[@]}" && return 0
    say "$PYTHON does not run tests/arm_variants.py: it needs what the package needs (make test makes .venv)"
    exit 1
}

part_variants() {
    local quickly=(--quick)
    [ -z "$every" ] || quickly=()
    local against=(tests/arm_variants.py "$ARM_HOME/variants.edgemeta" --against "$ARM_HOME/variants.json" "${quickly[@]}")
    { have_compilers && need mmdebstrap=mmdebstrap; } || { cannot variants "$missing"; return 0; }
    make_variants "${quickly[@]}"
    variants_64
    variants_32
}

# Both runtimes of 64-bit ARM, in $site.
ready_64() {
    local first
    make_root bookworm arm64 libstdc++6 libgomp1 || return 1
    make_package arm64 aarch64
    site=$ARM_HOME/onnx-$version
    make_site "numpy>=1.24" "onnxruntime>=1.18" || return 1
    first=$package:$site
    site=$ARM_HOME/tflite-$version
    make_site "numpy>=1.24" "ai-edge-litert>=1.2" || return 1
    site=$first:$site
}

# tflite-runtime and the NumPy that it needs, older than 2, in $site.
ready_32() {
    make_root bookworm armhf python3-numpy libstdc++6 || return 1
    make_package armhf armv7
    site=$ARM_HOME/tflite7-$version
    make_site --no-deps tflite-runtime==2.14.0 || return 1
    site=$package:$site:$root/usr/lib/python3/dist-packages
}

variants_64() {
    ready_64 || { cannot 'variants on aarch64' "$missing"; return 0; }
    on cortex-a76 "$NEW" -- "${against[@]}"
    [ -n "$every" ] || return 0
    on cortex-a53 "$OLD" -- "${against[@]}"
    on cortex-a72 "$OLD" -- "${against[@]}"
    site=$ARM_HOME/tflite-1.4.0-$version # for a glibc older than 2.34
    make_site "numpy>=1.24" "ai-edge-litert==1.4.0" || { cannot 'LiteRT 1.4.0' "$missing"; return 0; }
    site=$package:$site
    on cortex-a72 "$OLD" -- "${against[@]}" --runtimes tflite
}

variants_32() {
    ready_32 || { cannot 'variants on ARMv7' "$missing"; return 0; }
    on cortex-a7 "$V7" -- "${against[@]}" --runtimes tflite
}

# ---- cost ----------------------------------------------------------------------------------------------------------

# costs CPU FEATURES VARIANT ...: millions of instructions of one image.
costs() {
    local each few more
    for each in "${@:3}"; do
        few=$(executed "$1" "$2" "$each" 2) more=$(executed "$1" "$2" "$each" 4)
        printf '  %-11s %s: %d million instructions\n' "$1" "$each" $(((more - few) / 2000000))
    done
}

# Of a whole run, with so many images.
executed() {
    on "$1" "$2" -- tests/arm_variants.py "$ARM_HOME/variants.edgemeta" --embed "$3" "$4" 2>&1 |
        sed -n 's/^instructions //p'
}

part_cost() {
    local plugin tflite=(tflite-fp32 tflite-fp16 tflite-int8) onnx=(onnx-fp32 onnx-fp16 onnx-int8)
    { have_compilers && need cc=gcc mmdebstrap=mmdebstrap && ready_64; } || { cannot cost "$missing"; return 0; }
    make_plugin
    [ -e "$ARM_HOME/variants.edgemeta" ] || make_variants
    costs cortex-a53 "$OLD" "${onnx[@]}" "${tflite[@]}"
    costs cortex-a76 "$NEW" "${onnx[@]}" "${tflite[@]}"
    ready_32 || { cannot 'cost on ARMv7' "$missing"; return 0; }
    costs cortex-a7 "$V7" "${tflite[@]}"
}

# ---- size ----------------------------------------------------------------------------------------------------------

# What is in $site and in the package: MB, and whether there is anything that only training needs.
weigh() {
    local found both=("$site" "$package")
    found=$(ls "$site" | grep -xE 'torch|onnx|onnxscript|jax|jaxlib|tensorflow|timm|safetensors' || true)
    [ -z "$found" ] || { say "an install with $1 has $found in it"; exit 1; }
    say "$1: $(megabytes "${both[@]}") MB, $(megabytes "$package") of it edgemeta; with what Python compiles of it at the first" \
        "use, $(compiled "${both[@]}") MB"
    ls "$site" | grep -v '\.libs$' | sed -n 's/\.dist-info$//p' | paste -sd ' ' | sed 's/^/  /'
}

megabytes() { du -cb --exclude=__pycache__ "$@" | awk 'END { printf "%.0f", $1 / 1e6 }'; }

compiled() {
    "$PYTHON" -m compileall -q "$@" >/dev/null 2>&1 || true
    du -cb "$@" | awk 'END { printf "%.0f", $1 / 1e6 }'
}

part_size() {
    { have_compilers && need mmdebstrap=mmdebstrap && make_root bookworm arm64 libstdc++6 libgomp1; } ||
        { cannot size "$missing"; return 0; }
    make_package arm64 aarch64
    site=$ARM_HOME/onnx-$version
    make_site "numpy>=1.24" "onnxruntime>=1.18" || { cannot size "$missing"; return 0; }
    weigh 'ONNX Runtime'
    site=$ARM_HOME/tflite-$version
    make_site "numpy>=1.24" "ai-edge-litert>=1.2" || { cannot size "$missing"; return 0; }
    weigh LiteRT
}

# ---- wheels --------------------------------------------------------------------------------------------------------

part_wheels() {
    local wheel suite
    { have_compilers && need mmdebstrap=mmdebstrap; } || { cannot wheels "$missing"; return 0; }
    make_expected
    for wheel in "$@"; do
        case $wheel in
        *-cp311-cp311-*) suite=bookworm ;;
        *-cp313-cp313-*) suite=trixie ;;
        *) say "$(basename "$wheel") is not run: no Debian has that Python for ARM"; continue ;;
        esac
        make_root "$suite" arm64 libstdc++6 libgomp1 || { cannot "$(basename "$wheel")" "$missing"; continue; }
        site=$ARM_HOME/wheel-$version
        rm -rf "$site"
        make_site "$wheel[onnx,images]" || { cannot "$(basename "$wheel")" "$missing"; continue; }
        on cortex-a72 "$OLD" -- tests/arm_python.py --against "$ARM_HOME/here.json" --kernels neon
        on cortex-a76 "$NEW" -- tests/arm_python.py --against "$ARM_HOME/here.json" --kernels neon-dotprod
    done
}

mkdir -p "$ARM_HOME"
exec 9>"$ARM_HOME/lock"
flock 9 # one run at a time
[ $# -gt 0 ] || set -- core count python python7 variants
while [ $# -gt 0 ]; do
    part=$1
    shift
    case $part in
    core | count | python | python7 | variants | size | cost) "part_$part" ;;
    wheels) part_wheels "$@"; break ;;
    *) say "there is no part $part"; exit 2 ;;
    esac
done
say 'done'
