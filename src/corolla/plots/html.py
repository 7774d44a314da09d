"""HTML pages made from templates, and photos inside them."""

import base64
import io
from datetime import datetime

import numpy as np
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image


def template_environment(package: str) -> Environment:
    """Return the environment of a package's templates, which may extend page.html.j2, the frame of a page.

    Class names and ids are the data's: autoescape keeps them text.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("corolla.plots")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["now"] = datetime.now  # a page says when it was written
    return environment


def photo_jpeg(image: NDArray[np.uint8], side: int, *, quality: int) -> bytes:
    """Return a photo (H x W x 3 uint8), its longer side reduced to `side` pixels at most, as a JPEG."""
    small = Image.fromarray(image)
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def jpeg_uri(jpeg: bytes) -> str:
    """Return a JPEG as the data: URI of an image."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
