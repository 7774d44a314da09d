"""The image that Kaggle's notebooks run in: its Python, its packages, and which wheels fit it.

Seen in September 2026 (Kaggle/docker-python: kaggle_requirements.txt over Colab's image). A newer image has newer
packages, which fit as well.
"""

from functools import cache

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

PYTHON = "3.12"
ABI = "cp312"
PLATFORMS = (*(f"manylinux_2_{minor}_x86_64" for minor in range(28, 16, -1)), "manylinux2014_x86_64")
"""Platforms of the wheels that it takes, the newest first; its own glibc is 2.35."""

MARKERS = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": f"{PYTHON}.0",
    "python_version": PYTHON,
    "sys_platform": "linux",
}
"""Environment in which requirements with a condition are judged (PEP 508)."""

HAS = {
    "albumentations": "2.0.8",
    "bokeh": "3.8.2",
    "huggingface-hub": "1.11.0",
    "matplotlib": "3.10.0",
    "nbformat": "5.10.4",
    "numpy": "2.0.2",
    "opencv-contrib-python": "4.13.0.92",
    "opencv-python": "4.13.0.92",
    "opencv-python-headless": "4.13.0.92",
    "packaging": "26.1",
    "pandas": "2.2.2",
    "pillow": "11.3.0",
    "pydantic": "2.12.3",
    "requests": "2.32.4",
    "safetensors": "0.7.0",
    "scikit-learn": "1.6.1",
    "scipy": "1.16.3",
    "tenacity": "9.1.4",
    "tensorboard": "2.20.0",
    "timm": "1.0.26",
    "torch": "2.10.0",
    "torchvision": "0.25.0",
    "tqdm": "4.67.3",
}
"""Those of corolla's dependencies that it has, with their versions; but for its client of Kaggle, which is of no use
without internet."""

HAS_AT_LEAST = {
    "annotated-types": "0.7.0",
    "imagehash": "4.3.1",
    "jinja2": "3.1.4",
    "pyyaml": "6.0.1",
    "typing-extensions": "4.14.1",
}
"""Others that it has, in a version that is not known: the lowest that its other packages leave (pydantic 2.12.3 needs
typing-extensions 4.14.1), or that was current when Python 3.12 came into it."""

STAYS = frozenset(
    {
        "huggingface-hub",
        "numpy",
        "opencv-python-headless",
        "packaging",
        "pandas",
        "pillow",
        "scikit-learn",
        "scipy",
        "torch",
        "torchvision",
    }
)
"""Those that stay whatever their version, as builds of its own: torch belongs to its driver, the others to hundreds of
neighbours."""


def version_of(name: str) -> str | None:
    """Return the version of a distribution there, or the lowest that it can be; None where it is not known to be."""
    canonical = canonicalize_name(name)
    return HAS.get(canonical) or HAS_AT_LEAST.get(canonical)


def fitting(wheel: str) -> tuple[str, str] | None:
    """Return name and version of a wheel by its file's name; None where it does not fit there, or is no wheel."""
    try:
        name, version, _, tags = parse_wheel_filename(wheel)
    except InvalidWheelFilename:
        return None
    return None if tags.isdisjoint(_tags()) else (str(name), str(version))


@cache
def _tags() -> frozenset[Tag]:
    python = tuple(map(int, PYTHON.split(".")))
    return frozenset(
        [*cpython_tags(python, [ABI], PLATFORMS), *compatible_tags(python, ABI, PLATFORMS)],
    )
