"""Whether a camera gives images. It is read in a process of its own: a device that hangs would hang its reader.

`python -m mqe_core.doctor.camera DEVICE` reads for two seconds. It prints the last image (JPEG, base64), and how many
there were a second.
"""

from __future__ import annotations

import base64
import importlib.util
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from mqe_core.doctor.finding import FAIL, OK, WARN, Finding, tried

_READ_S = 2.0
_LIMIT_S = 10.0  # to load OpenCV, open the device and read


def examine_camera(device: str | None, policy: Path | None = None) -> Iterator[Finding]:
    """Device None: only look whether there is one. Its picture is held against what `policy` learned from."""
    if device is None:
        found = sorted(path.name for path in Path("/dev").glob("video*"))
        yield Finding(
            OK if found else WARN,
            f"cameras: {', '.join(found) or 'no /dev/video*'}",
            "" if found else "needed for a real arm; plug it in",
        )
        return
    if importlib.util.find_spec("cv2") is None:
        yield Finding(FAIL, f"camera {device} cannot be read: no OpenCV", "pip install opencv-python-headless")
        return
    read = tried([sys.executable, "-m", "mqe_core.doctor.camera", device], os.environ, _LIMIT_S)
    if read.code != 0:
        yield Finding(
            FAIL,
            f"camera {device} gives no image: {read.reason}",
            "is it plugged in, used by another program, and are you in the group video?",
        )
        return
    rate = float(read.said[-1])
    remedy = "" if rate >= 5 else "less than one per command: more light, fewer pixels"
    yield Finding(FAIL if remedy else OK, f"camera {device}: {rate:.0f} images/s", remedy)
    if policy is not None:
        yield from _examine_picture(base64.b64decode(read.said[-2]), policy)


def _examine_picture(encoded: bytes, policy: Path) -> Iterator[Finding]:
    """Nothing is said where the policy is of the sim, or tells nothing of its pictures."""
    from mqe_core.images import decode, squash_resize
    from mqe_core.policy.bundle import PolicyBundle
    from mqe_core.policy.contract import BundleError
    from mqe_core.policy.domain import REAL

    try:
        contract = PolicyBundle.open(policy).contract
    except BundleError:  # another check tells it
        return
    familiarity = contract.familiarity
    if familiarity is None or contract.domain != REAL:
        return
    outside = familiarity.outside(squash_resize(decode(encoded), contract.image_size))
    is_unlike = outside > familiarity.most_outside
    yield Finding(
        WARN if is_unlike else OK,
        f"its picture: {100 * outside:.1f} % of it unlike the training data, at most "
        f"{100 * familiarity.most_outside:.1f} % in their own scenes",
        "has the camera moved, or is it another table? Compare with a training picture" if is_unlike else "",
    )


def _read(device: str) -> None:
    import cv2

    capture = cv2.VideoCapture(int(device) if device.isdigit() else device)
    if not capture.isOpened():
        sys.exit("it cannot be opened")
    frames, last, began = 0, None, time.monotonic()
    while time.monotonic() - began < _READ_S:
        is_read, frame = capture.read()
        if not is_read:
            break
        frames, last = frames + 1, frame
    if last is None:
        sys.exit("it was opened, and nothing came")
    picture = cv2.imencode(".jpg", last)[1].tobytes()
    sys.stdout.write(f"{base64.b64encode(picture).decode()}\n")
    sys.stdout.write(f"{frames / (time.monotonic() - began)}\n")


if __name__ == "__main__":
    _read(sys.argv[1])
