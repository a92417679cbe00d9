"""The parts of a picture's file, read without decoding it: the chunks of a PNG, the segments of a JPEG."""

from __future__ import annotations

from collections.abc import Iterator

# Of a PNG, or of a JPEG before its first scan. Pillow reads them one by one, in Python; a PNG of 16 MB has 2,000.
_MOST_PARTS = 4096
_PNG = b"\x89PNG"


def require_few_parts(data: bytes) -> None:
    """ValueError where a JPEG or PNG has so many parts that reading their headers alone would take too long."""
    parts, following = 0, _after_segment
    at: int | None = None
    if data.startswith(_PNG):
        at, following = 8, _after_chunk
    elif data.startswith(b"\xff\xd8"):
        at = 2
    while at is not None and at < len(data):
        at, parts = following(data, at), parts + 1
        if parts > _MOST_PARTS:
            raise ValueError(f"a picture of more than {_MOST_PARTS} parts")


def png_chunk(data: bytes, name: bytes) -> bytes | None:
    """The content of a chunk that stands before the pixels; None where there is none, or the file is no PNG."""
    return next((data[at + 8 : at + 8 + size] for each, at, size in _before_pixels(data) if each == name), None)


def _before_pixels(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, place and size of the chunks of a PNG before the first with pixels."""
    at = 8 if data.startswith(_PNG) else len(data)
    for _ in range(_MOST_PARTS):
        name = data[at + 4 : at + 8]
        if len(name) < 4 or name == b"IDAT":
            return
        yield name, at, int.from_bytes(data[at : at + 4], "big")
        at = _after_chunk(data, at)


def _after_chunk(data: bytes, at: int) -> int:
    """Where the chunk of a PNG after the one at `at` begins."""
    return at + 12 + int.from_bytes(data[at : at + 4], "big")


def _after_segment(data: bytes, at: int) -> int | None:
    """Likewise of a JPEG; None where its picture begins."""
    mark, code = data[at], data[at + 1 : at + 2]
    if mark != 0xFF or code in (b"\x00", b"\xff"):  # filling
        return at + 1
    if code == b"\xda":
        return None
    if code == b"\x01" or b"\xd0" <= code <= b"\xd9":  # these stand alone
        return at + 2
    return at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
