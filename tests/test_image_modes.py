"""Promise: a picture keeps its meaning or is refused, in every mode of the library and with all that a file may say
beside its pixels.
"""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from mqe_core import images


def _noise(height: int, width: int) -> np.ndarray:
    """(height, width, 3) uint8."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _file(image: Image.Image, format: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def _ramp(kind: type = np.uint8) -> np.ndarray:
    """(4, 8): from black to the most that `kind` holds."""
    return np.linspace(0, np.iinfo(kind).max, 32).reshape(4, 8).astype(kind)


def test_the_decoder_knows_every_mode_of_the_library() -> None:
    assert set(images._MODES) == set(Image.MODES)


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_greys_of_8_bits_are_three_equal_channels(format: str) -> None:
    decoded = images.decode(_file(Image.fromarray(_ramp()), format, **({"quality": 100} if format == "JPEG" else {})))
    assert np.abs(decoded.astype(int) - _ramp()[:, :, None]).max() <= (2 if format == "JPEG" else 0)


def test_one_bit_is_black_and_white() -> None:
    decoded = images.decode(_file(Image.fromarray(_ramp() > 127)))
    assert np.array_equal(decoded[:, :, 0], np.where(_ramp() > 127, 255, 0))


def test_greys_of_16_bits_are_scaled_and_not_cut_off() -> None:
    sixteen = _ramp(np.uint16)
    file = _file(Image.fromarray(sixteen))
    assert Image.open(io.BytesIO(file)).mode == "I;16"
    decoded = images.decode(file)
    assert np.abs(decoded[:, :, 0] - sixteen / 257).max() <= 0.5
    assert len(np.unique(decoded)) == 32


def test_colours_of_16_bits_keep_their_high_byte() -> None:
    """Pillow cannot write such a file: it is built from its chunks."""
    rows = np.zeros((2, 3, 3), np.uint16)
    rows[..., 0], rows[..., 1] = 0xFFFF, 0x80FF
    body = zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows))
    header = struct.pack(">IIBBBBB", 3, 2, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", body), (b"IEND", b"")]
    file = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    assert (images.decode(file) == [255, 128, 0]).all()


def test_a_palette_is_looked_up() -> None:
    palette = Image.new("P", (3, 1))
    palette.putdata([0, 1, 1])
    palette.putpalette([10, 20, 30, 200, 100, 50])
    assert images.decode(_file(palette)).tolist() == [[[10, 20, 30], [200, 100, 50], [200, 100, 50]]]
    assert images.decode(_file(palette, transparency=1)).tolist() == [[[10, 20, 30], [255] * 3, [255] * 3]]


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_what_is_transparent_is_laid_over_white(mode: str) -> None:
    """Whatever colour hides under it; half of black is mid grey."""
    image = Image.new(mode, (3, 1))
    bands = len(mode) - 1
    image.putdata([(200,) * bands + (255,), (90,) * bands + (0,), (0,) * bands + (127,)])
    assert images.decode(_file(image)).tolist() == [[[200] * 3, [255] * 3, [128] * 3]]


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_one_transparent_value_is_laid_over_white(mode: str) -> None:
    value: int | tuple[int, ...] = 7 if mode == "L" else (7, 7, 7)
    image = Image.new(mode, (2, 1), value)
    image.putpixel((1, 0), 90 if mode == "L" else (90, 90, 90))
    assert images.decode(_file(image, transparency=value)).tolist() == [[[255] * 3, [90] * 3]]


def test_16_bits_with_a_transparent_value_are_refused() -> None:
    with pytest.raises(ValueError, match=r"mode I;16 with a transparent grey; save it as RGB with 8 bits"):
        images.decode(_file(Image.fromarray(_ramp(np.uint16)), transparency=0))


def test_the_colours_of_print_are_refused_with_mode_and_remedy(tmp_path) -> None:
    (tmp_path / "print.jpg").write_bytes(_file(Image.new("CMYK", (8, 8), (0, 200, 200, 0)), "JPEG"))
    with pytest.raises(ValueError, match=r"print\.jpg: an image of mode CMYK: .*save it as RGB"):
        images.read(tmp_path / "print.jpg")


@pytest.mark.parametrize("mode", Image.MODES)
def test_each_mode_gives_rgb_or_is_refused_with_mode_and_remedy(mode: str) -> None:
    """Also those that no JPEG or PNG holds today."""
    image = Image.new(mode, (4, 3))
    try:
        decoded = np.asarray(images._upright_rgb(image))
    except ValueError as error:
        assert f"mode {mode}: " in str(error) and "save it as RGB" in str(error)
    else:
        assert decoded.shape == (3, 4, 3) and decoded.dtype == np.uint8


@pytest.mark.parametrize(
    ("format", "named"), [("GIF", "GIF"), ("TIFF", "TIFF"), ("BMP", "BMP"), ("WEBP", "WebP"), ("ICO", "ICO")]
)
def test_another_format_is_named_with_the_remedy(format: str, named: str) -> None:
    with pytest.raises(ValueError, match=f"begins as {named} does; save it as PNG"):
        images.decode(_file(Image.new("RGB", (16, 16)), format))


@pytest.mark.parametrize("mode", ["F", "I"])
def test_numbers_of_a_tiff_are_refused(mode: str) -> None:
    with pytest.raises(ValueError, match="TIFF"):
        images.decode(_file(Image.new(mode, (8, 8)), "TIFF"))


def test_an_animation_is_refused() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    with pytest.raises(ValueError, match="an animation of 2 frames; save the frame that is meant"):
        images.decode(_file(frames[0], save_all=True, append_images=frames[1:]))


def test_a_phones_file_of_several_pictures_is_its_first() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    decoded = images.decode(_file(frames[0], "MPO", save_all=True, append_images=frames[1:]))
    assert decoded[..., 0].min() > 250


def _corners() -> np.ndarray:
    """(6, 4, 3): another colour in each corner."""
    image = np.zeros((6, 4, 3), np.uint8)
    image[:3, :2], image[:3, 2:], image[3:, :2] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    return image


# How the pixels of a file must be turned to be upright, by the EXIF standard (CIPA DC-008, tag 274).
_UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", _UPRIGHT)
@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_a_picture_is_turned_as_its_exif_says(orientation: int, format: str) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    large = np.repeat(np.repeat(_corners(), 8, 0), 8, 1)
    options = {"quality": 100, "subsampling": 0} if format == "JPEG" else {}
    decoded = images.decode(_file(Image.fromarray(large), format, exif=exif, **options))
    expected = _UPRIGHT[orientation](large).astype(int)
    assert decoded.shape == expected.shape
    assert np.abs(decoded - expected).max() <= (8 if format == "JPEG" else 0)


def test_a_picture_is_turned_as_its_xmp_says() -> None:
    packet = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", packet.decode())
    turned = _UPRIGHT[6](_corners())
    assert np.array_equal(images.decode(_file(Image.fromarray(_corners()), pnginfo=text)), turned)
    assert images.decode(_file(Image.fromarray(_corners()), "JPEG", xmp=packet)).shape == turned.shape


def test_exif_data_that_cannot_be_read_is_told() -> None:
    with pytest.raises(ValueError, match="EXIF data is damaged .* save it without"):
        images.decode(_file(Image.fromarray(_corners()), "JPEG", exif=b"Exif\0\0no header of a TIFF"))


def _swapped_profile() -> bytes:
    """A profile in which the numbers of red mean green, and the other way round: sRGB with two tags exchanged."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack_from(">I", profile, 128)[0]
    places = {bytes(profile[at : at + 4]): at for at in range(132, 132 + 12 * count, 12)}
    red, green = places[b"rXYZ"], places[b"gXYZ"]
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile).replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be")).replace(b"sRGB", b"test")


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_a_colour_profile_is_converted(format: str) -> None:
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 255
    decoded = images.decode(_file(Image.fromarray(red), format, icc_profile=_swapped_profile())).astype(int)
    assert decoded[..., 1].min() > 245 and decoded[..., 0].max() < 10


def test_the_profile_that_is_meant_anyway_changes_no_bit() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for picture in (_noise(16, 16), _ramp()):
        with_profile = images.decode(_file(Image.fromarray(picture), icc_profile=profile))
        assert np.array_equal(with_profile, images.decode(_file(Image.fromarray(picture))))


def test_a_damaged_profile_is_told() -> None:
    with pytest.raises(ValueError, match="colour profile .* save the picture as sRGB"):
        images.decode(_file(Image.fromarray(_noise(16, 16)), icc_profile=b"no profile"))


@pytest.mark.parametrize("encode", [images.encode_jpeg, images.encode_png])
def test_plain_pictures_decode_to_the_bytes_of_the_library(encode) -> None:
    """As BridgeData's and those of every store."""
    encoded = encode(_noise(48, 64))
    assert np.array_equal(images.decode(encoded), np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB")))


def _with_chunks(file: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """The PNG with these chunks behind its header."""
    made = [
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    ]
    return file[:33] + b"".join(made) + file[33:]


def _hundred_thousandths(*values: float) -> bytes:
    return struct.pack(f">{len(values)}I", *(round(1e5 * value) for value in values))


_SRGB_PRIMARIES = _hundred_thousandths(0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
_ADOBE_PRIMARIES = _hundred_thousandths(0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
_LINEAR = (b"gAMA", _hundred_thousandths(1.0))
_PICTURES = {
    "L": Image.fromarray(_ramp()),
    "RGB": Image.fromarray(np.dstack([_ramp()] * 3)),
    "P": Image.fromarray(_ramp()).convert("P"),
    "RGBA": Image.fromarray(np.dstack([_ramp()] * 3 + [np.full((4, 8), 255, np.uint8)])),
    "I;16": Image.fromarray(_ramp(np.uint16)),
}


@pytest.mark.parametrize("mode", _PICTURES)
def test_numbers_that_are_light_become_those_that_a_screen_takes(mode: str) -> None:
    """A PNG whose gAMA is 1.0, as renderers and scientific cameras write it."""
    light = np.linspace(0, 1, 32).reshape(4, 8)
    wanted = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    # Eight bits of light are few: a step of one of them is up to 13 levels of sRGB.
    worst = 0.51 if mode == "I;16" else 13
    decoded = images.decode(_with_chunks(_file(_PICTURES[mode]), _LINEAR))
    assert np.abs(decoded - wanted[:, :, None]).max() <= worst
    assert np.abs(decoded[-1, -8:] - wanted[-1, -8:, None]).max() <= 1.5


@pytest.mark.parametrize(
    "chunks",
    [
        [(b"gAMA", _hundred_thousandths(0.45455))],
        [(b"gAMA", _hundred_thousandths(0.45455)), (b"cHRM", _SRGB_PRIMARIES)],
        [(b"sRGB", b"\0"), _LINEAR],
        [(b"cICP", bytes([1, 13, 0, 1])), _LINEAR, (b"cHRM", _ADOBE_PRIMARIES)],
    ],
    ids=["as sRGB's", "with primaries", "sRGB comes first", "cICP comes first"],
)
@pytest.mark.parametrize("mode", _PICTURES)
def test_what_a_png_says_of_srgb_changes_no_bit(mode: str, chunks: list[tuple[bytes, bytes]]) -> None:
    file = _file(_PICTURES[mode])
    assert np.array_equal(images.decode(_with_chunks(file, *chunks)), images.decode(file))


@pytest.mark.parametrize(
    "chunk",
    [
        (b"cICP", bytes([9, 16, 0, 1])),
        (b"cHRM", _ADOBE_PRIMARIES),
        (b"gAMA", _hundred_thousandths(0.0)),
    ],
    ids=["a screenshot in HDR", "Adobe RGB's primaries", "no exponent"],
)
def test_colours_that_are_not_srgbs_are_refused_with_the_remedy(chunk: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="other colours than sRGB's.*; save it as sRGB"):
        images.decode(_with_chunks(_file(_PICTURES["RGB"]), chunk))


def test_a_transparent_picture_of_light_is_laid_over_white() -> None:
    half = Image.fromarray(np.full((2, 2, 4), (0, 0, 0, 128), np.uint8))
    assert images.decode(_with_chunks(_file(half), _LINEAR))[0, 0, 0] == images.decode(_file(half))[0, 0, 0]
