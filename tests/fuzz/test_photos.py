"""JPEGs of every kind, whole and damaged: each way of decoding gives Pillow's pixels, or says that they are none."""

import base64
import io
import warnings
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import strategies as st
from mutations import Fuzz, mutated
from PIL import Image
from support import outcome

from corolla.data import decode
from corolla.data.decode import EDGE, decode_jpeg, decode_photo, decode_top, jpeg_shape
from corolla.data.jpeg_header import kind_of

# By libjpeg-turbo 3.2, which Pillow's save does not ask for it: 20 x 37 pixels, sequential and progressive.
ARITHMETIC = [
    base64.b85decode(text)
    for text in (
        "|JeWF01!$>Nk#wx0RR9200961|JwjV04N+DBOVzjBOxO#D=08LWI;SPH#~b-T}fn-fSHz$fQ*WuwC2O0s@koJjL84X+V1uL|Noo8|NsB`|K|Pw"
        "`2X7gLjfx-Ej%?mc0oaQ_@#`c`1ttv`1ttv`1ttv`1ttv`1ttv`1ttv`1ttv`1ttv`1ttv`1ttv`1ttv`1ttv`1t?H01*fPB>)ry0U`hb5di}c"
        "0sqVZ3IGrg1pyEd1^?Or3<CiG0ucid06zf8@7+ta-fE5sx{<E#Vnm1@$yz@G$H4W+4ViU!$e8Y(?<uhYsOTlPR?kFvVR2M_iVh~4VTVzi{>5)n"
        "@C|ZsNAL7v4F(Y1p)MHRSpV4",
        "|JeWF01!$>Nk#wx0RR9200961|JwjV04N+DBOVzjBOxO#D=08LWI;SPH#~b-T}fn-fSHz$fQ*WuwC2O0s@koJjL84X+V1uL|Noo8|NsB`|K|Pw"
        "`2X7gLjfx-Ej%?mc0oaQ_@#`c`1ttv`1ttv`1ttv`1ttv`1ttv`1ttv`1ttv`1ttv`1ttv`1ttv`1ttv`1ttv`1t?I01*fPB>)ry0U`hb5di}c"
        "0sqVZ1^^HN5dYc$3<CiG0uTcb0005C=0AO#9L;Sc3gQ^ab(TKY3k9t2fd9+@1P}%P+5iXv0RRC70vw+Aw%DJb|I7dc5e5I+00;pC0RcY&ke4MB"
        "T|>bC%m4%t1^?Or2mt~C0Y3pJ3VhbGacAKF%m4%s1^?Or2mt{A20sF@|I7dc5C#9*00;pA00BQCQtl>S;3@<`AY=d901N{G00IC50000Gv+QoA"
        "`2WlR1Q7-Q+5iXv0|5a)5LRlk|I7dc5e5I+00;pB0RcY{$Wsm#Q2)#T1P}%P+5iXv0RRC%5EEDH<3T2SF@{Y^od4M",
    )
]
SAMPLINGS = ["444", "422", "420", "440", "411", "Gray"]
FACTORS = [0x111111, 0x211111, 0x221111, 0x121111, 0x411111]
MOST_PIXELS = 1 << 22  # of a damaged photo: all ways together hold seven copies of what its header promises
TURNED = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"


def pixels(seed: int, height: int, width: int) -> np.ndarray:
    """Return a photo with structure and noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (3, 3, 3), np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + rng.normal(0, 20 * (seed % 2), smooth.shape), 0, 255).astype(np.uint8)


@st.composite
def by_pillow(draw: st.DrawFn, image: np.ndarray) -> bytes:
    """Return a JPEG with options of any kind."""
    mode = draw(st.sampled_from(["RGB", "RGB", "L", "CMYK"]))
    options = {
        "quality": draw(st.sampled_from([1, 20, 75, 100])),
        "progressive": draw(st.booleans()),
        "optimize": draw(st.booleans()),
        "restart_marker_blocks": draw(st.sampled_from([0, 0, 1, 3])),
        "restart_marker_rows": draw(st.sampled_from([0, 0, 1])),
        "exif": draw(st.sampled_from([b"", TURNED])),
        "comment": draw(st.sampled_from([b"", b"\xff\xd9\xff\xda"])),
    }
    if mode == "RGB":
        options |= draw(
            st.sampled_from([{"subsampling": n} for n in range(3)] + [{"keep_rgb": True, "subsampling": 0}])
        )
    buffer = io.BytesIO()
    Image.fromarray(image).convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def by_opencv(image: np.ndarray, factors: int, restart: int, progressive: bool) -> bytes:
    options = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factors, cv2.IMWRITE_JPEG_RST_INTERVAL, restart]
    options += [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)]
    return bytes(cv2.imencode(".jpg", image, options)[1])


def as_441(columns: int, rows: int, seed: int) -> bytes:
    """Return a JPEG in 4:4:1, whose units have as many blocks as those of 4:2:0."""
    data = bytearray(simplejpeg.encode_jpeg(pixels(seed, 32 * rows, 16 * columns), colorsubsampling="420"))
    data[data.index(b"\xff\xc0") + 11] = 0x14
    return bytes(data)


SEED, SIDE = st.integers(0, 9), st.integers(1, 50)
PHOTO = st.builds(pixels, SEED, SIDE, SIDE)
JPEG = st.one_of(
    PHOTO.flatmap(by_pillow),
    st.builds(
        lambda image, name: simplejpeg.encode_jpeg(image, colorsubsampling=name), PHOTO, st.sampled_from(SAMPLINGS)
    ),
    st.builds(by_opencv, PHOTO, st.sampled_from(FACTORS), st.integers(0, 3), st.booleans()),
    st.builds(as_441, st.integers(1, 2), st.integers(1, 2), SEED),
    st.sampled_from(ARITHMETIC),
)


def of_pillow(data: bytes) -> np.ndarray | None:
    """Return the pixels, with their mode; None where Pillow refuses them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(Image.open(io.BytesIO(data), formats=["JPEG"]).convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def is_cmyk(data: bytes) -> bool:
    """Return whether the pixels are converted from CMYK, which each library rounds in its own way."""
    return Image.open(io.BytesIO(data)).mode == "CMYK"


def decoded(data: bytes, rows: int) -> dict[str, np.ndarray | str]:
    """Return what each way of decoding gives, or why it gives nothing."""
    shape = outcome(lambda: jpeg_shape(data), ValueError)
    if isinstance(shape, str):
        return {"shape": shape}
    if shape[0] * shape[1] > MOST_PIXELS:
        return {"shape": "more pixels than are compared here"}
    ways: dict[str, Callable[[], np.ndarray]] = {
        "all": lambda: decode_jpeg(data),
        "into memory of one's own": lambda: decode_jpeg(data, out=np.full((*shape, 3), 7, np.uint8)),
        "photo": lambda: decode_photo(data).copy(),
        "rows": lambda: decode_photo(data, rows=rows)[:rows].copy(),
    }
    if rows + EDGE <= shape[0]:
        ways["top"] = lambda: decode_top(data, rows, out=np.full((*shape, 3), 7, np.uint8))
    return {name: outcome(way, ValueError) for name, way in ways.items()}


def difference(one: np.ndarray, other: np.ndarray) -> int:
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other).max())


@pytest.mark.parametrize("library", ["simplejpeg", "opencv"])
def test_every_way_of_decoding_is_pillows(library: str, fuzz: Fuzz, monkeypatch: pytest.MonkeyPatch) -> None:
    if library == "opencv":
        monkeypatch.setattr(decode, "simplejpeg", None)

    def check(case: tuple[bytes, int]) -> None:
        data, rows = case
        wanted = of_pillow(data)
        assert wanted is not None
        assert jpeg_shape(data) == wanted.shape[:2]
        assert kind_of(data) is None
        may_differ = 2 if is_cmyk(data) else library == "opencv"
        for name, image in decoded(data, rows).items():
            assert not isinstance(image, str), (name, image)
            assert difference(image, wanted[: len(image)]) <= may_differ, name

    fuzz(check, st.tuples(JPEG, st.integers(1, 60)), fast=25, slow=2500)


@pytest.mark.parametrize("library", ["simplejpeg", "opencv"])
def test_a_damaged_photo_is_pillows_or_none(library: str, fuzz: Fuzz, monkeypatch: pytest.MonkeyPatch) -> None:
    if library == "opencv":
        monkeypatch.setattr(decode, "simplejpeg", None)

    def check(case: tuple[bytes, int]) -> None:
        data, rows = case
        found = decoded(data, rows)
        assert all(image.isprintable() for image in found.values() if isinstance(image, str))
        whole = found.get("all")
        if not isinstance(whole, np.ndarray):
            return
        wanted = of_pillow(data)
        assert whole.shape == (*jpeg_shape(data), 3)
        for name, image in found.items():
            assert not isinstance(image, str), (name, image)
            assert difference(image, whole[: len(image)]) == 0, name
        if wanted is not None:
            assert difference(whole, wanted) <= (2 if is_cmyk(data) else 1)

    markers = [
        b"\xff\xd9",
        b"\xff\xda",
        b"\xff\xd8",
        b"\xff\xc0",
        b"\xff\xc9",
        b"\xff\xd0",
        b"\xff\xdd\0\4\0\1",
        b"\xff",
        b"\0",
    ]
    huge = bytearray(ARITHMETIC[0])
    place = huge.index(b"\xff\xc9") + 5  # of height and width
    huge[place : place + 4] = (9000).to_bytes(2, "big") * 2
    fuzz(
        check,
        st.tuples(mutated(JPEG, pieces=markers), st.integers(1, 60)),
        fast=25,
        slow=4000,
        known=[(bytes(huge), 30)],
    )
