"""Images in and out: the one path for data sets, the simulator, goals and cameras.

An image is everywhere `(H, W, 3) uint8`, RGB. Resizing keeps the whole frame and squashes its aspect (no
crop) with antialiased Lanczos, as BridgeData V2's own converter does (bridge_data_v2
`bridgedata_raw_to_numpy.py`), so that training, goals and the camera see the same pixels.
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

RESIZE_RULE = "squash-lanczos"

_FORMATS = (
    "JPEG",
    "PNG",
)  # what the data sets and cameras hold; Pillow's many other parsers stay out of reach of untrusted files
# Of images as they stand in a ROS message: channels per pixel, and which of them are red, green and blue.
_ENCODINGS = {
    "rgb8": (3, [0, 1, 2]),
    "bgr8": (3, [2, 1, 0]),
    "rgba8": (4, [0, 1, 2]),
    "bgra8": (4, [2, 1, 0]),
}
_MIN_CONTRAST = 4.0  # grey levels of 255, standard deviation; BridgeData's images have 40 and more
_CONTRAST_STRIDE = 4  # of the pixels that it is measured on
# What Pillow raises on damaged bytes, depending on where the damage lies.
_UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def _reason(error: Exception) -> str:
    """Pillow's own words, but for the ones that name a Python object."""
    return "" if isinstance(error, UnidentifiedImageError) else f": {error}"


def decode(data: bytes) -> np.ndarray:
    """Encoded JPEG or PNG bytes → `(H, W, 3) uint8` RGB.

    Raises ValueError where the bytes are no complete image.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            return np.array(image.convert("RGB"))
    except _UNREADABLE as error:
        raise ValueError(f"not a readable JPEG or PNG image ({len(data)} bytes){_reason(error)}") from error


def unpack(height: int, width: int, encoding: str, step: int, data) -> np.ndarray:
    """Rows of `step` bytes, as the fields of a sensor_msgs/Image tell them → `(H, W, 3) uint8` RGB, contiguous.

    Raises ValueError where the encoding is none of rgb8, bgr8, rgba8 and bgra8, or the bytes do not fit.
    """
    if encoding not in _ENCODINGS:
        raise ValueError(f"image encoding {encoding!r}; expected one of {', '.join(_ENCODINGS)}")
    channels, order = _ENCODINGS[encoding]
    if height < 1 or width < 1 or step < width * channels or len(data) != height * step:
        raise ValueError(
            f"image {width}x{height} with step {step} and {len(data)} bytes does not fit its encoding {encoding}"
        )
    rows = np.frombuffer(data, dtype=np.uint8).reshape(height, step)[:, : width * channels]
    return np.ascontiguousarray(rows.reshape(height, width, channels)[:, :, order])


def squash_resize(image: np.ndarray, size: int) -> np.ndarray:
    """`(H, W, 3) uint8` → `(size, size, 3) uint8`:

    Lanczos over the whole frame, aspect squashed. Already that size: returned as it is.
    """
    _check(image)
    if size < 1:
        raise ValueError(f"image size must be at least 1 pixel, got {size}")
    if image.shape[:2] == (size, size):
        return image
    return np.array(Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS))


def why_no_picture(image: np.ndarray) -> str | None:
    """Why the `(H, W, 3) uint8` image shows nothing: it is of one even colour. None where it may be a picture."""
    contrast = float(image[::_CONTRAST_STRIDE, ::_CONTRAST_STRIDE].std((0, 1)).max())
    return (
        f"one even colour (contrast {contrast:.1f} of 255): is the lens covered, the light off?"
        if contrast < _MIN_CONTRAST
        else None
    )


def encode_jpeg(image: np.ndarray, quality: int = 95) -> bytes:
    """`(H, W, 3) uint8` RGB → JPEG bytes (lossy)."""
    return _encode(image, format="JPEG", quality=quality)


def encode_png(image: np.ndarray) -> bytes:
    """`(H, W, 3) uint8` RGB → PNG bytes (lossless)."""
    return _encode(image, format="PNG")


def read(path: str | Path) -> np.ndarray:
    """The image file at `path` as `(H, W, 3) uint8` RGB.

    Raises ValueError naming the file where it is no image.
    """
    try:
        return decode(Path(path).read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _encode(image: np.ndarray, **options: object) -> bytes:
    _check(image)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, **options)
    return buffer.getvalue()


def _check(image: np.ndarray) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        what = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"expected an RGB image (H, W, 3) uint8, got {what}")
