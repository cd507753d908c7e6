"""Packaging. Packages are listed by hand, so that nothing but `edgemeta` is ever installed at the top level."""

import re
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "([^"]+)"', (HERE / "edgemeta/__init__.py").read_text()).group(1)

ONNX = ["onnxruntime>=1.17"]
# ai-edge-litert has no wheels for 32-bit ARM, where tflite-runtime is what there is.
TFLITE = [
    "ai-edge-litert>=1.2; platform_machine != 'armv7l'",
    "tflite-runtime>=2.14; platform_machine == 'armv7l'",
]
IMAGES = ["pillow>=9.4"]
TRAIN = ["torch>=2.4", "onnx>=1.16", "onnxscript>=0.1", "safetensors>=0.4", *ONNX, *IMAGES]
TEST = ["pytest>=8", "hypothesis>=6.100", "ruff>=0.6", "mypy>=1.11", "scikit-learn>=1.4", *TRAIN]

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
    package_dir={"edgemeta.export": "export"},
    package_data={
        "edgemeta": ["py.typed"],
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
