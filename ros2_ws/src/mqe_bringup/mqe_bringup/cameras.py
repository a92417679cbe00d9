"""The argument `camera`: which process brings images to /camera/image_raw, and what they show.

Drivers of other packages are asked for RGB images of the size in the robot file, under the names of this graph. The
names of their parameters and topics are those of usb_cam 0.8 and realsense2_camera 4.55 and newer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mqe_bringup.process import Process, Values, installed_executable, node
from mqe_core import ros_names
from mqe_core.policy.domain import REAL, SIM
from mqe_core.robot.parts import CameraSpec
from mqe_core.robot.spec import RobotSpec
from mqe_ros.parameters import Value

CHOICES = (
    "auto, sim, a video device read with OpenCV (/dev/video0, 0), a driver: usb_cam or usb_cam:/dev/video2, "
    "realsense or "
    "realsense:SERIAL; an EpisodeStore to replay, or none: your own driver publishes /camera/image_raw"
)
_DEVICE_PATIENCE_S = 10.0  # for a RealSense to appear; the driver itself would wait for ever


@dataclass(frozen=True)
class Camera:
    """What publishes the images (None where nothing is started here), what they show, and the banner's words for it."""

    process: Process | None
    domain: str
    description: str


def choose_camera(requested: str, backend: str, address: str, spec: RobotSpec, share: Path) -> Camera:
    """The camera for the argument `requested`; ValueError or FileNotFoundError with the remedy where there is none.

    Args:
        address: of the sim's server.
        share: of mqe_bringup, with the episode that the mock replays.
    """
    if requested == "auto":
        requested = _automatic(backend, share)
    driver, _, device = requested.partition(":")
    if driver in _DRIVERS:
        return _DRIVERS[driver](spec.camera, device)
    if requested == "sim":
        if backend != "sim":
            raise ValueError(
                f"camera sim needs the simulated world, but the backend is {backend}; use backend:=sim or another "
                "camera"
            )
        # The sim's images come at their own rate; asking often costs little and finds each while it is new.
        return _own(spec, {"camera": "sim", "address": address, "rate_hz": 100.0}, SIM, "the sim's")
    if requested == "none":
        return Camera(None, REAL, "none started here: a driver of your own publishes /camera/image_raw")
    if Path(requested).is_dir():
        from mqe_core.data.store.episode_store import EpisodeStore

        domain = EpisodeStore.open(requested).metadata["domain"]
        return _own(spec, {"camera": "mock", "episodes": requested, "domain": domain}, domain, f"replays {requested}")
    if requested.isdigit() or Path(requested).exists():
        return _own(spec, {"camera": "opencv", "device": requested}, REAL, f"device {requested}, read with OpenCV")
    raise FileNotFoundError(f"camera {requested!r}: no such device or folder; expected {CHOICES}")


def _automatic(backend: str, share: Path) -> str:
    if backend == "sim":
        return "sim"
    if backend != "mock":
        raise ValueError(
            f"backend {backend} needs a camera: camera:=usb_cam or realsense (their drivers), camera:=/dev/video0 "
            "(without a driver), "
            f"or camera:=none and your own"
        )
    episodes = share / "replay"
    if not episodes.is_dir():
        raise FileNotFoundError(
            f"{episodes} is missing: build the workspace again (make setup), or name a store to replay: camera:=STORE"
        )
    return str(episodes)


def _own(spec: RobotSpec, parameters: Values, domain: str, description: str) -> Camera:
    return Camera(node("camera_node", {**parameters, "robot": spec.source}), domain, description)


def _usb_cam(camera: CameraSpec, device: str) -> Camera:
    device = f"/dev/video{device}" if device.isdigit() else device or "/dev/video0"
    parameters: dict[str, Value] = {
        "video_device": device,
        "image_width": camera.width_px,
        "image_height": camera.height_px,
        "framerate": camera.rate_hz,
        # what every webcam offers, published as rgb8; the default's yuv422 nobody here reads
        "pixel_format": "yuyv2rgb",
        "camera_name": camera.name,
        "frame_id": camera.name,
        "brightness": -1,  # as the camera has it; the default, 50, is darker than most are
        "autofocus": True,  # the default would leave the lens wherever it happens to stand
    }
    process = _driver("usb_cam", "usb_cam_node_exe", parameters, "image_raw", "camera_info")
    if not Path(device).exists():
        raise FileNotFoundError(
            f"camera usb_cam: there is no device {device}; others: ls /dev/video*, then camera:=usb_cam:DEVICE"
        )
    return Camera(process, REAL, f"device {device}, driver usb_cam")


def _realsense(camera: CameraSpec, serial: str) -> Camera:
    parameters: dict[str, Value] = {
        "rgb_camera.color_profile": f"{camera.width_px}x{camera.height_px}x{camera.rate_hz:.0f}",
        "rgb_camera.color_format": "RGB8",
        "camera_name": camera.name,
        "wait_for_device_timeout": _DEVICE_PATIENCE_S,
        # Without the driver's own launch file all that the device has is on.
        **{
            f"enable_{stream}": stream == "color"
            for stream in ("color", "depth", "infra", "infra1", "infra2", "gyro", "accel")
        },
    }
    if serial:
        parameters["serial_no"] = serial
    process = _driver(
        "realsense2_camera", "realsense2_camera_node", parameters, "~/color/image_raw", "~/color/camera_info"
    )
    return Camera(process, REAL, f"RealSense {serial or '(the first found)'}, driver realsense2_camera")


_DRIVERS = {"usb_cam": _usb_cam, "realsense": _realsense}


def _driver(package: str, executable: str, parameters: Values, image: str, info: str) -> Process:
    """The driver's node with its topics `image` and `info` under this graph's names. ValueError where it is not
    installed.
    """
    try:
        installed_executable(package, executable)
    except FileNotFoundError as error:
        apt = f"ros-humble-{package.replace('_', '-')}"
        raise ValueError(
            f"{error}: sudo apt install {apt} (or your ROS release in place of humble) and source its setup.bash; "
            f"camera:=/dev/video0 reads a video device with the built-in OpenCV node instead"
        ) from None
    remappings = {
        image: ros_names.IMAGE,
        # image_transport's own publishers need a rule of their own
        f"{image}/compressed": ros_names.COMPRESSED_IMAGE,
        info: ros_names.CAMERA_INFO,
    }
    return Process("camera_node", None, package, executable, parameters=parameters, remappings=remappings)
