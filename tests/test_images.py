"""The image path:

RGB order, whole-frame antialiased resizing, and damaged bytes that never pass as images.
"""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from mqe_core import images


def _scene(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth coloured image with some noise, (height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(x / 7 + c) * np.cos(y / (5 + c)) for c in range(3)], axis=-1)
    return np.clip(128 + 90 * waves + rng.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)


def _slow_lanczos(image: np.ndarray, size: int) -> np.ndarray:
    """Textbook Lanczos-3 with the kernel widened by the shrink factor, one axis after the other."""

    def weights(length: int) -> np.ndarray:
        scale = length / size
        stretch = max(scale, 1.0)
        matrix = np.zeros((size, length))
        for i in range(size):
            center = (i + 0.5) * scale
            for j in range(length):
                distance = (j + 0.5 - center) / stretch
                if abs(distance) < 3:
                    matrix[i, j] = np.sinc(distance) * np.sinc(distance / 3)
            matrix[i] /= matrix[i].sum()
        return matrix

    rows, columns = weights(image.shape[0]), weights(image.shape[1])
    # Pillow rounds between the passes.
    horizontal = np.clip(np.rint(np.einsum("jw,hwc->hjc", columns, image.astype(float))), 0, 255)
    return np.einsum("ih,hjc->ijc", rows, horizontal)


def test_png_is_lossless_and_jpeg_keeps_rgb_order():
    image = _scene(20, 30)
    assert np.array_equal(images.decode(images.encode_png(image)), image)
    red = np.zeros((16, 16, 3), dtype=np.uint8)
    red[..., 0] = 255
    decoded = images.decode(images.encode_jpeg(red)).astype(int)
    assert decoded[..., 0].min() > 250 and decoded[..., 1:].max() < 5


def test_raw_rows_of_every_encoding_are_read_as_rgb_and_must_fit():
    image = _scene(3, 4)
    rgba = np.concatenate([image, np.full((3, 4, 1), 9, np.uint8)], axis=2)
    packed = {"rgb8": image, "bgr8": image[:, :, ::-1], "rgba8": rgba, "bgra8": rgba[:, :, [2, 1, 0, 3]]}
    for encoding, pixels in packed.items():
        rows = np.pad(pixels.reshape(3, -1), ((0, 0), (0, 5)))
        assert np.array_equal(images.unpack(3, 4, encoding, rows.shape[1], rows.tobytes()), image)
    for height, step, length, encoding in (
        (3, 12, 35, "rgb8"),
        (3, 11, 33, "rgb8"),
        (0, 12, 0, "rgb8"),
        (3, 12, 36, "rgba8"),
        (3, 12, 36, "mono8"),
    ):
        with pytest.raises(ValueError, match="image"):
            images.unpack(height, 4, encoding, step, bytes(length))


def test_jpeg_quality_is_honoured():
    image = _scene(48, 64)
    assert len(images.encode_jpeg(image, quality=30)) < len(images.encode_jpeg(image)) < len(images.encode_png(image))


@pytest.mark.parametrize("shape", [(48, 64), (64, 48), (15, 21)])
def test_squash_resize_is_antialiased_lanczos_over_the_whole_frame(shape):
    image = _scene(*shape)
    resized = images.squash_resize(image, 16)
    assert resized.shape == (16, 16, 3) and resized.dtype == np.uint8
    expected = np.clip(_slow_lanczos(image, 16), 0, 255)
    assert np.abs(resized.astype(float) - expected).max() <= 1.01  # fixed-point weights and one rounding per pass


def test_squash_resize_keeps_an_image_of_the_right_size_and_its_input():
    image = _scene(24, 24)
    assert images.squash_resize(image, 24) is image
    before = image.copy()
    images.squash_resize(image, 8)
    assert np.array_equal(image, before)


def test_grey_and_transparent_files_become_rgb():
    for mode in ("L", "RGBA", "P"):
        buffer = io.BytesIO()
        Image.new(mode, (5, 4)).save(buffer, format="PNG")
        assert images.decode(buffer.getvalue()).shape == (4, 5, 3)


@pytest.mark.parametrize("encode", [images.encode_jpeg, images.encode_png])
def test_truncated_bytes_are_refused(encode):
    encoded = encode(_scene(16, 16))
    for length in (0, 1, 10, len(encoded) // 2, len(encoded) * 3 // 4):
        with pytest.raises(ValueError, match="not a readable JPEG or PNG"):
            images.decode(encoded[:length])


@pytest.mark.parametrize("encode", [images.encode_jpeg, images.encode_png])
def test_flipped_bytes_give_an_image_or_a_value_error(encode):
    encoded = encode(_scene(16, 16))
    rng = np.random.default_rng(1)
    for _ in range(300):
        damaged = bytearray(encoded)
        damaged[rng.integers(len(damaged))] ^= int(rng.integers(1, 256))
        try:
            assert images.decode(bytes(damaged)).shape[2] == 3
        except ValueError:
            pass


def test_other_formats_are_refused():
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, format="GIF")
    with pytest.raises(ValueError, match="not a readable JPEG or PNG"):
        images.decode(buffer.getvalue())


def test_read_names_the_file(tmp_path):
    (tmp_path / "goal.png").write_bytes(images.encode_png(_scene(6, 8)))
    assert images.read(tmp_path / "goal.png").shape == (6, 8, 3)
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="bad.png"):
        images.read(tmp_path / "bad.png")


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((8, 8, 3)),
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((3, 8, 8), np.uint8),
        [[0]],
    ],
)
def test_anything_but_rgb_uint8_is_refused(wrong):
    for function in (lambda image: images.squash_resize(image, 4), images.encode_png, images.encode_jpeg):
        with pytest.raises(ValueError, match="expected an RGB image"):
            function(wrong)


@pytest.mark.parametrize(("width", "height"), [(3_900_000, 1), (1, 3_900_000), (10_001, 4)])
def test_a_picture_of_one_line_is_refused_before_it_is_decoded(width: int, height: int) -> None:
    """Four million pixels, which may be taken otherwise, and seconds to shrink."""
    png = images.encode_png(np.zeros((height, width, 3), np.uint8))
    with pytest.raises(ValueError, match=f"{width}x{height} pixels; at most 10000 on a side are taken"):
        images.decode(png, images.FRAME_PIXELS)
    with pytest.raises(ValueError, match="on a side"):
        images.require_few_pixels(width, height, images.FRAME_PIXELS)
    assert images.decode(png).shape == (height, width, 3)  # of a data set, where nobody waits


def test_a_picture_at_both_bounds_is_taken() -> None:
    images.require_few_pixels(10_000, 400, images.FRAME_PIXELS)
    images.require_few_pixels(400, 10_000, images.FRAME_PIXELS)
