"""The goals that the page offers, and pictures that become new ones, in the user's own folder alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from mqe_core import images
from mqe_core.console.own_files import entry_of, require_inside
from mqe_core.console.thumbnails import Kept, thumbnail
from mqe_core.files.bounded import shown
from mqe_core.files.outputs import check_goal
from mqe_core.policy.domain import SIM
from mqe_core.policy.goal_pictures import as_the_camera_sees
from mqe_core.policy.goals import Goal, check_name, read_goal, require_picture, write_goal
from mqe_core.robot.arrays import Images
from mqe_core.robot.capture_pose import USUAL_CAPTURE_POSE
from mqe_core.robot.parts import CameraSpec

_KEPT_THUMBNAILS = 256


@dataclass(frozen=True)
class GoalName:
    """A goal that the page lists. It may turn out, when it is read, to be none."""

    name: str
    is_own: bool  # of the user, and not one that comes with this project


@dataclass(frozen=True)
class Meaning:
    """What a picture shows, which no picture says itself.

    Attributes:
        camera: of the robot, as which the picture is taken.
        domain: `sim` or `real`, as the running graph's.
        capture_pose: (7,) Bridge state of the arm in it.
        task, seed: of the simulated scene; None for a real one.
    """

    camera: CameraSpec
    domain: str
    capture_pose: Sequence[float] = USUAL_CAPTURE_POSE
    task: str | None = None
    seed: int | None = None


class GoalsFolder:
    """Goals by their names, for the page. Safe to call from several threads.

    Args:
        own: the user's folder; new goals are written here, and nowhere else. It need not exist.
        shipped: folders that are only read; the user's goal of a name counts before theirs.
    """

    def __init__(self, own: Path, shipped: Sequence[Path] = ()) -> None:
        self._own, self._shipped = own, tuple(shipped)
        self._kept, self._writing = Kept(_KEPT_THUMBNAILS), Lock()

    def names(self) -> list[GoalName]:
        """All of them, the user's first, each in the order of the alphabet. No picture is read."""
        found: dict[str, GoalName] = {}
        for folder in (self._own, *self._shipped):
            pictures = sorted(path.stem for path in folder.glob("*.png")) if folder.is_dir() else []
            for name in pictures:
                found.setdefault(name, GoalName(name, folder is self._own))
        return list(found.values())

    def path_of(self, name: str) -> Path:
        """The PNG of that goal. ValueError where there is none, or it leads elsewhere."""
        for folder in (self._own, *self._shipped):
            is_own = folder is self._own
            path = entry_of(folder, f"{name}.png", may_link=not is_own)
            if path is not None:
                if is_own:
                    require_inside(folder, path.with_suffix(".yaml"))
                return path
        raise ValueError(f"there is no goal {shown(name)}")

    def read(self, name: str) -> Goal:
        """The goal. ValueError or FileNotFoundError, with the remedy, where it is none."""
        return read_goal(self.path_of(name))

    def thumbnail(self, name: str) -> bytes:
        """A small JPEG of it. Errors as `read`."""
        path = self.path_of(name)
        status = path.stat()
        return self._kept.get((path, status.st_mtime_ns, status.st_size), lambda: thumbnail(read_goal(path).image))

    def add(self, name: str, data: bytes, meaning: Meaning) -> tuple[Goal, str]:
        """Make a goal of a JPEG or PNG that somebody sent: cut and shrunk to what the robot's camera shows.

        Returns it, and in words what was done to the picture. ValueError where the name cannot be one or is taken, or
        the picture is none, too large, or of one even colour; WriteError where the disk does not take it.
        """
        check_name(name)
        if len(data) > images.FRAME_BYTES:
            raise ValueError(f"a file of {len(data) / 1e6:.1f} MB, at most {images.FRAME_BYTES / 1e6:.0f} MB are taken")
        seen, how = as_the_camera_sees(images.decode(data, images.FRAME_PIXELS), meaning.camera)
        return self.add_image(name, seen, meaning), how

    def add_image(self, name: str, image: Images, meaning: Meaning) -> Goal:
        """Make a goal of a camera's picture, (H, W, 3) uint8, as it is. Errors as `add`."""
        check_name(name)
        require_picture(image, "the picture")
        if (meaning.domain == SIM) != (meaning.task is not None and meaning.seed is not None):
            raise ValueError("a goal of the sim belongs to a scene, and no other goal does")
        with self._writing:  # two pages may choose one name
            if name in {goal.name for goal in self.names()}:
                raise ValueError(f"there is a goal {name} already; choose another name")
            path = self._own / f"{name}.png"
            check_goal(path, domain=meaning.domain, force=False)
            return write_goal(
                path,
                image,
                camera=meaning.camera.name,
                domain=meaning.domain,
                capture_pose=meaning.capture_pose,
                task=meaning.task,
                seed=meaning.seed,
            )
