"""Images in and out: the one path for data sets, the simulator, goals and cameras.

An image is everywhere `(H, W, 3) uint8`, RGB. Resizing keeps the whole frame (no crop) and squashes its aspect, with
antialiased Lanczos. BridgeData V2's own converter does the same (bridge_data_v2 `bridgedata_raw_to_numpy.py`), so
training, goals and the camera see the same pixels.

A picture keeps its meaning, or it is refused: `decode` is the one decoder, and `_MODES` says what it does with every
mode that Pillow knows.
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from mqe_core.files.bounded import read_bounded
from mqe_core.files.picture_parts import png_chunk, require_few_parts
from mqe_core.files.placeholders import POINTER, is_pointer
from mqe_core.robot.arrays import AnyArray, Floats, Images

RESIZE_RULE = "squash-lanczos"

# What data sets and cameras hold. Pillow's many other parsers stay out of reach of untrusted files.
_FORMATS = ("JPEG", "PNG")
# What other pictures begin with, so that the error can name them; their parsers stay unused.
_OTHERS = {
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"BM": "BMP",
    b"\0\0\1\0": "ICO",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
}
_OTHERS_INSIDE = {b"WEBP": "WebP", b"ftyphe": "HEIC", b"ftypmif1": "HEIC", b"ftypavif": "AVIF"}  # in the first 16 bytes

_KEEP, _FLATTEN, _SCALE = "as it is", "over white", "16 bits to 8"
_PRINT = "the colours of print, which each screen shows differently"
_NUMBERS = "its numbers have no range that says what is white"
_NOT_RGB = "its numbers are not red, green and blue"
_OTHER_COLOURS = "its numbers mean other colours than sRGB's, as it says itself (cICP, cHRM); save it as sRGB"
# Every mode of Pillow: what is done with it (one of the first three), or why it is refused.
_MODES = {
    **dict.fromkeys(("1", "L", "RGB", "RGBX", "P"), _KEEP),
    **dict.fromkeys(("LA", "PA", "RGBA"), _FLATTEN),
    **dict.fromkeys(("I;16", "I;16L", "I;16B", "I;16N"), _SCALE),
    **dict.fromkeys(("YCbCr", "LAB", "HSV", "La", "RGBa"), _NOT_RGB),
    **dict.fromkeys(("I", "F"), _NUMBERS),
    "CMYK": _PRINT,
}
# Under these keys Pillow keeps what may change how the pixels are to be seen.
_MARKS = {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif", "icc_profile", "transparency"}
_MARKS |= {"gamma", "chromaticity"}  # of a PNG without a profile
_CICP_OF_SRGB = bytes([1, 13, 0, 1])  # primaries, transfer, matrix, full range: ITU-T H.273
# x, y of white, red, green and blue; and the exponent with which sRGB's numbers come from light, as writers state it.
_SRGB_COLOURS = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
_SRGB_GAMMA = 0.45455
_NEAR = 0.02  # what writers round away

# Images in a ROS message: channels per pixel, and which of them are red, green and blue.
_ENCODINGS = {
    "rgb8": (3, [0, 1, 2]),
    "bgr8": (3, [2, 1, 0]),
    "rgba8": (4, [0, 1, 2]),
    "bgra8": (4, [2, 1, 0]),
}
# Of a camera's picture, and of a goal: more cannot be handled within a control period.
FRAME_PIXELS = 4_000_000
_FRAME_SIDE = 10_000  # pixels, of the same: shrinking one line of four million takes seconds
FRAME_BYTES = 16_000_000  # of one as a file: a PNG of noise has three a pixel
_MOST_BYTES = 2**28  # of any other picture's file
_MOST_SCANS = 20  # of a progressive JPEG; encoders write up to 12, and each costs as much as a whole picture
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


def decode(data: bytes, most_pixels: int | None = None) -> Images:
    """Encoded JPEG or PNG bytes → `(H, W, 3) uint8` RGB, upright, as a viewer shows them.

    The EXIF orientation is applied. 16 bits become 8. Transparent pixels are laid over white. A colour profile other
    than sRGB is converted. Raises ValueError where the bytes are no complete image, or of a mode whose colours are not
    known; the message says the mode and the remedy. So it is, before anything is decoded, where there are
    more than `most_pixels`.
    """
    if most_pixels is not None:
        require_few_parts(data)  # Pillow reads them all before it says how large the picture is
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            _require_bounded(data, image, most_pixels)
            image.load()
            cicp = png_chunk(data, b"cICP")  # Pillow does not read it
            if cicp not in (None, _CICP_OF_SRGB):
                raise _RefusedError(_OTHER_COLOURS)
            is_plain = image.mode == "RGB" and not _MARKS & image.info.keys() and getattr(image, "n_frames", 1) == 1
            return np.array(image if is_plain else _upright_rgb(image, is_srgb=cicp is not None))
    except _RefusedError:
        raise
    except UnidentifiedImageError as error:
        raise ValueError(f"not a readable JPEG or PNG image ({len(data)} bytes){_other_format(data)}") from error
    except _UNREADABLE as error:
        raise ValueError(f"not a readable JPEG or PNG image ({len(data)} bytes): {error}") from error


def _other_format(data: bytes) -> str:
    """What to do with bytes that begin as another format does; empty where they do not."""
    if is_pointer(data):
        return f": {POINTER}"
    begins = [name for mark, name in _OTHERS.items() if data.startswith(mark)]
    holds = [name for mark, name in _OTHERS_INSIDE.items() if mark in data[:16]]
    return next((f": it begins as {name} does; save it as PNG" for name in begins + holds), "")


class _RefusedError(ValueError):
    """Why a picture is refused that is not damaged."""


def _upright_rgb(image: Image.Image, is_srgb: bool = False) -> Image.Image:
    """The same picture in mode RGB. `is_srgb`: what a PNG without a profile says of its colours besides is moot."""
    treatment = _MODES.get(image.mode, _NOT_RGB)
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # the first picture of an MPO is the photo, the others are its previews
        raise _RefusedError(f"an animation of {frames} frames; save the frame that is meant as a picture of its own")
    if treatment not in (_KEEP, _FLATTEN, _SCALE):
        raise _RefusedError(f"an image of mode {image.mode}: {treatment}; save it as RGB with 8 bits")
    profile, is_clear = image.info.get("icc_profile"), "transparency" in image.info or treatment == _FLATTEN
    gamma = None if profile or is_srgb or "srgb" in image.info else _gamma(image)
    try:
        Image.Exif().load(image.info.get("exif", b""))  # its damage, which Pillow keeps to itself in a JPEG
        image = ImageOps.exif_transpose(image)
    except _UNREADABLE as error:
        raise _RefusedError(f"its EXIF data is damaged ({error}), which says what is up; save it without") from error
    if treatment == _SCALE:
        if is_clear:
            raise _RefusedError(f"an image of mode {image.mode} with a transparent grey; save it as RGB with 8 bits")
        image = Image.fromarray(_as_srgb(np.arange(65536) / 65535, gamma)[np.asarray(image)])
    elif gamma is not None:
        image = image.convert("RGBA")
        levels = _as_srgb(np.arange(256) / 255, gamma).tolist()
        image = image.point([*levels * 3, *range(256)])
    if is_clear:
        clear = image.convert("RGBA")
        image = Image.new("RGBA", clear.size, "white")
        image.alpha_composite(clear)
    if not (profile and image.mode == "L"):  # a profile of greys is for mode L
        image = image.convert("RGB")
    return _to_srgb(image, profile) if profile else image


def _gamma(image: Image.Image) -> float | None:
    """The exponent with which a PNG's numbers come from light; None where they are sRGB's. Refused are others' colours.

    Source: the PNG specification, third edition: gAMA and cHRM.
    """
    colours = image.info.get("chromaticity", _SRGB_COLOURS)
    if not np.allclose(colours, _SRGB_COLOURS, atol=_NEAR, rtol=0):
        raise _RefusedError(_OTHER_COLOURS)
    gamma = float(image.info.get("gamma", _SRGB_GAMMA))
    if gamma <= 0.0:
        raise _RefusedError(_OTHER_COLOURS)
    return None if abs(gamma / _SRGB_GAMMA - 1.0) <= _NEAR else gamma


def _as_srgb(levels: Floats, gamma: float | None) -> AnyArray:
    """Levels (n,) from 0 to 1, of which light is the power 1/gamma → uint8 of sRGB; None: they are sRGB's already.

    Source: IEC 61966-2-1.
    """
    if gamma is not None:
        light = levels ** (1.0 / gamma)
        levels = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.floor(levels * 255.0 + 0.5).astype(np.uint8)


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """An image of mode RGB or L whose numbers are meant by `profile` → RGB as sRGB means it."""
    try:
        meant = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(meant).lower():
            return image.convert("RGB")
        converted = ImageCms.profileToProfile(image, meant, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError) as error:
        raise _RefusedError(f"a colour profile that cannot be applied ({error}); save the picture as sRGB") from error
    assert converted is not None  # it is only where the image is converted in place
    return converted


def unpack(height: int, width: int, encoding: str, step: int, data: bytes) -> Images:
    """Rows of `step` bytes, as in a sensor_msgs/Image → `(H, W, 3) uint8` RGB, contiguous.

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


def squash_resize(image: Images, size: int) -> Images:
    """`(H, W, 3) uint8` → `(size, size, 3) uint8`: Lanczos over the whole frame, its aspect squashed.

    An image that already has that size is returned as it is.
    """
    _check(image)
    if size < 1:
        raise ValueError(f"image size must be at least 1 pixel, got {size}")
    return resize(image, size, size)


def resize(image: Images, height: int, width: int) -> Images:
    """`(H, W, 3) uint8` → `(height, width, 3) uint8`, likewise."""
    _check(image)
    if image.shape[:2] == (height, width):
        return image
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def why_no_picture(image: Images) -> str | None:
    """Why the `(H, W, 3) uint8` image shows nothing (it is of one even colour); None where it may show something."""
    contrast = float(image[::_CONTRAST_STRIDE, ::_CONTRAST_STRIDE].std((0, 1)).max())
    return (
        f"one even colour (contrast {contrast:.1f} of 255): is the lens covered, the light off?"
        if contrast < _MIN_CONTRAST
        else None
    )


def encode_jpeg(image: Images, quality: int = 95) -> bytes:
    """`(H, W, 3) uint8` RGB → JPEG bytes (lossy)."""
    return _encode(image, "JPEG", quality=quality)


def encode_png(image: Images) -> bytes:
    """`(H, W, 3) uint8` RGB → PNG bytes (lossless)."""
    return _encode(image, "PNG")


def read(path: str | Path, most_pixels: int | None = None) -> Images:
    """The image file at `path` as `(H, W, 3) uint8` RGB.

    Raises ValueError naming the file where it is no image, or has more than `most_pixels`; such a file is not decoded.
    """
    data = read_bounded(Path(path), FRAME_BYTES if most_pixels is not None else _MOST_BYTES)
    try:
        return decode(data, most_pixels)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def require_few_pixels(width: int, height: int, most: int) -> None:
    """ValueError where a picture has more pixels than `most`, or more on a side than any camera's."""
    if max(width, height) > _FRAME_SIDE:
        raise _RefusedError(f"{width}x{height} pixels; at most {_FRAME_SIDE} on a side are taken: crop it")
    if width * height > most:
        raise _RefusedError(f"{width}x{height} pixels; at most {most} are taken: make it smaller, or set the camera so")


def _require_bounded(data: bytes, image: Image.Image, most_pixels: int | None) -> None:
    """ValueError, before anything is decoded, where decoding would take too long."""
    if most_pixels is None:
        return
    require_few_pixels(*image.size, most_pixels)
    if image.format == "JPEG" and data.count(b"\xff\xda") > _MOST_SCANS:
        raise _RefusedError(f"a JPEG of more than {_MOST_SCANS} scans")


def _encode(image: Images, format: str, **options: int) -> bytes:
    _check(image)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format, **options)
    return buffer.getvalue()


def _check(image: Images) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        what = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"expected an RGB image (H, W, 3) uint8, got {what}")
