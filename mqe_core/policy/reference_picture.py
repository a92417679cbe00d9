"""What a policy's camera saw in training, without what moved: carried in its bundle, so that a camera that was moved is
put back before the policy is blamed.
"""

from __future__ import annotations

import base64
import binascii

from mqe_core import images
from mqe_core.robot.arrays import Images

_QUALITY = 90  # 128x128: some 6 kB
_MOST_LETTERS = 1 << 20


def encoded(picture: Images) -> str:
    """(S, S, 3) uint8 as the policy sees it, for the bundle's contract."""
    return base64.b64encode(images.encode_jpeg(picture, _QUALITY)).decode()


def decoded(text: str, size: int) -> Images:
    """(size, size, 3) uint8 from the contract; ValueError where it is none."""
    if not isinstance(text, str) or len(text) > _MOST_LETTERS:
        raise ValueError(f"expected a text of at most {_MOST_LETTERS} letters")
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
    picture = images.decode(data, most_pixels=size * size)
    if picture.shape != (size, size, 3):
        raise ValueError(f"expected a picture of {size}x{size} pixels, got {picture.shape[1]}x{picture.shape[0]}")
    return picture
