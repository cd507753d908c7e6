"""Packaging. Packages are listed by hand, so that nothing but `edgemeta` is ever installed at the top level."""

import re
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "([^"]+)"', (HERE / "edgemeta/__init__.py").read_text()).group(1)

# 1.17 does not read graphs of IR version 10, which the export writes.
# 1.21.0 uses an instruction that a Cortex-A53 and A72 (Raspberry Pi 3 and 4) do not have.
ONNX = ["onnxruntime>=1.18,!=1.21.0"]
# ai-edge-litert has no wheels for 32-bit ARM, where tflite-runtime is what there is.
TFLITE = [
    "ai-edge-litert>=1.2; platform_machine != 'armv7l'",
    "tflite-runtime>=2.14; platform_machine == 'armv7l'",
    "numpy<2; platform_machine == 'armv7l'",  # what tflite-runtime was compiled with
]
IMAGES = ["pillow>=9.4"]
TRAIN = ["torch>=2.4", "onnx>=1.16", "onnxscript>=0.1", "safetensors>=0.4", "flatbuffers>=23", *ONNX, *TFLITE, *IMAGES]
# What timm needs beside torch and torchvision: the Makefile installs it without the latter.
TIMM = ["huggingface_hub>=0.20", "pyyaml>=6"]
TEST = ["pytest>=8", "hypothesis>=6.100", "ruff>=0.6", "mypy>=1.11", "scikit-learn>=1.4", *TIMM, *TRAIN]

# What the file of an instruction set is compiled with; which runs is decided at run time. As in native/Makefile.
FLAGS = ["-std=c99", "-O3", "-g0", "-ffp-contract=off", "-fvisibility=hidden", "-Wall", "-Wextra"]
SETS = {
    "kernels_sse2": ("86", ["-msse2"]),
    "kernels_avx2": ("86", ["-mavx2", "-mfma", "-mf16c"]),
    "kernels_avx512": ("86", ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mfma", "-mf16c"]),
    "kernels_neon": ("a", []),
    "kernels_neon_dotprod": ("aarch64", ["-march=armv8.2-a+dotprod"]),
}


class BuildCore(build_ext):
    """The core file by file, each with the flags of its instruction set."""

    def build_extension(self, extension: Extension) -> None:
        machine = self._machine()
        objects = []
        for source in sorted((HERE / "native").glob("*.c")):
            of, flags = SETS.get(source.stem, ("", []))
            if source.name == "python.c" or not _suits(of, machine):
                continue
            objects += self.compiler.compile(
                [str(source.relative_to(HERE))],
                output_dir=self.build_temp,
                extra_postargs=[*FLAGS, *flags],
                depends=extension.depends,
            )
        extension.extra_objects = objects
        super().build_extension(extension)

    def _machine(self) -> str:
        """What the compiler compiles for, which is not this machine when it is a cross compiler."""
        found = subprocess.run(
            [*self.compiler.compiler[:1], "-dumpmachine"], capture_output=True, text=True, check=True
        )
        return found.stdout.strip()

    def run(self) -> None:
        try:
            super().run()
        except Exception as error:  # no compiler, none that is known, no headers of Python: NumPy does as well
            print(f"warning: edgemeta's C core was not built, NumPy will do its work: {error}", file=sys.stderr)


def _suits(of: str, machine: str) -> bool:
    if of == "86":
        return "86" in machine
    return not of or ("aarch64" in machine if of == "aarch64" else machine.startswith(("aarch64", "arm")))


setup(
    name="edgemeta",
    version=VERSION,
    description="Few-shot learning on edge devices: frozen backbone, closed-form head, exact forgetting",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    classifiers=[
        "Programming Language :: Python :: 3",
        *[f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 15)],
        "Operating System :: POSIX :: Linux",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    packages=[
        "edgemeta",
        "edgemeta.bundle",
        "edgemeta.cli",
        "edgemeta.data",
        "edgemeta.export",
        "edgemeta.heads",
        "edgemeta.journal",
        "edgemeta.meta",
        "edgemeta.models",
        "edgemeta.regression",
        "edgemeta.runners",
    ],
    ext_modules=[
        Extension(
            "edgemeta._native",
            ["native/python.c"],
            depends=[str(p.relative_to(HERE)) for p in sorted((HERE / "native").glob("*.[ch]"))],
            extra_compile_args=[*FLAGS, "-Wno-missing-field-initializers"],
            optional=True,
        )
    ],
    cmdclass={"build_ext": BuildCore},
    package_dir={"edgemeta.export": "export"},
    package_data={
        "edgemeta": ["py.typed", "_native.pyi"],
        "edgemeta.data": ["*.npz", "*.md"],
        "edgemeta.models": ["*.edgemeta", "*.md"],
    },
    install_requires=["numpy>=1.24"],
    extras_require={
        "onnx": ONNX,
        "tflite": TFLITE,
        "images": IMAGES,
        "train": TRAIN,
        "test": TEST,
        "all": sorted({*ONNX, *TFLITE, *TRAIN, *TEST}),
    },
    entry_points={"console_scripts": ["edgemeta = edgemeta.cli:main"]},
    zip_safe=False,
)
