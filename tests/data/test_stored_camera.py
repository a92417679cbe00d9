"""Promise: a recorded policy answers the same again, each session of a recording is judged on its own, and what differs
says why.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mqe_core import ros_names
from mqe_core.cli import main
from mqe_core.policy.bundle import PolicyBundle
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.onnx_policy import OnnxPolicy
from tests.data.written_bag import Bag, Speaker, picture


@pytest.fixture
def recorded(make_bundle, spec: RobotSpec, tmp_path: Path) -> tuple[Path, Path]:
    """(bag, policy): a recording of that policy, its first command before the goal was recorded."""
    path = make_bundle()
    policy = OnnxPolicy(PolicyBundle.open(path))
    bag = Bag(tmp_path / "bag", spec)
    bag.diagnostics(policy.fingerprint, "fingerprint")
    rng = np.random.default_rng(5)
    goal = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    for k in range(5):
        image = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        bag.image(ros_names.IMAGE, image)
        if k == 1:
            bag.image(ros_names.GOAL_IMAGE, goal)
        bag.command(k + 1, 1.0, action=policy.act(image, goal).action)
        bag.time += 0.2
    bag.writer.close()
    return tmp_path / "bag", path


def replay(capsys: pytest.CaptureFixture, *arguments: object) -> tuple[int, dict]:
    code = main(["replay", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_the_policy_that_made_a_recording_answers_the_same_again(recorded, capsys: pytest.CaptureFixture) -> None:
    bag, policy = recorded
    code, summary = replay(capsys, bag, "--policy", policy)
    assert code == 0 and summary["same_policy"] and summary["agrees"]
    assert (summary["commands"], summary["without_image_or_goal"]) == (4, 1)


def test_commands_whose_image_is_lost_or_told_by_its_stamp_are_warned_of(
    make_bundle, spec: RobotSpec, tmp_path: Path, capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_bundle()
    policy = OnnxPolicy(PolicyBundle.open(path))
    bag = Bag(tmp_path / "bag", spec)
    speaker = Speaker(bag, "one", policy)
    speaker.show(picture(1), "cup")
    for image_time in (None, 0.0, None):
        speaker.step()
        bag.command(100, 1.0, image_time=image_time)
        bag.newest_crc32 = 12345
        bag.command(101, 1.0)
    bag.writer.close()
    replay(capsys, bag.folder, "--policy", path)
    assert "4 commands are not compared: their images are not in the recording" in caplog.text
    assert "1 commands do not name their images" in caplog.text


def test_what_was_chosen_last_goes_with_a_goal_in_a_replay_too(
    choosing_bundle: Path, spec: RobotSpec, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    policy = OnnxPolicy(PolicyBundle.open(choosing_bundle))
    bag = Bag(tmp_path / "bag", spec)
    bag.diagnostics(policy.fingerprint, "fingerprint")
    sequence, chosen = 0, []
    for number in range(2):
        goal, last = picture(number), -1
        bag.image(ros_names.GOAL_IMAGE, goal)
        for red in (19, 15) if number == 0 else (15, 15):  # at 15 two candidates are equally near
            bag.time += 0.2
            image = np.zeros((24, 32, 3), np.uint8)
            image[..., 0] = red
            bag.image(ros_names.IMAGE, image)
            output = policy.act(image, goal, last)
            last, sequence = output.candidates.chosen, sequence + 1
            chosen.append(last)
            bag.command(sequence, 1.0, action=output.action)
        bag.time += 2.0
    bag.writer.close()
    assert chosen == [2, 2, 1, 1]
    code, summary = replay(capsys, bag.folder, "--policy", choosing_bundle)
    assert code == 0 and summary["commands"] == 4 and summary["agrees"]


def test_another_policy_is_compared_and_named_so(recorded, make_bundle, capsys: pytest.CaptureFixture) -> None:
    code, summary = replay(capsys, recorded[0], "--policy", make_bundle(action=(0.03, 0, 0, 0, 0, 0, 1)))
    assert code == 0 and not summary["same_policy"] and not summary["agrees"]
    assert summary["largest_difference"]["dx"] == pytest.approx(0.02, abs=1e-6)


def test_the_same_policy_with_other_answers_is_an_error(
    make_bundle, spec: RobotSpec, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = make_bundle()
    bag = Bag(tmp_path / "bag", spec)
    bag.diagnostics(PolicyBundle.open(path).fingerprint, "fingerprint")
    for topic in (ros_names.GOAL_IMAGE, ros_names.IMAGE):
        bag.image(topic, np.zeros((24, 32, 3), np.uint8))
    bag.command(1, 1.0, action=np.full(7, 0.04))
    bag.writer.close()
    assert replay(capsys, tmp_path / "bag", "--policy", path)[0] == 1


def test_a_folder_without_a_recording_is_said(make_bundle, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["replay", str(tmp_path), "--policy", str(make_bundle())]) == 1
    assert "holds no .mcap file" in capsys.readouterr().err


def test_a_recording_that_ends_early_is_said(recorded, capsys: pytest.CaptureFixture) -> None:
    bag, policy = recorded
    file = bag / "bag.mcap"
    content = file.read_bytes()
    file.write_bytes(content[:-20])
    code, summary = replay(capsys, bag, "--policy", policy)
    assert code == 0 and summary["commands"] == 4 and summary["incomplete"][0].startswith(f"{file} ends early")
    assert main(["replay", str(bag), "--policy", str(policy)]) == 0
    assert capsys.readouterr().out.startswith(f"{file} ends early: it breaks off")
    file.write_bytes(content[: len(content) // 2])
    assert main(["replay", str(bag), "--policy", str(policy)]) == 1
    assert f"holds no command with its image and goal; {file} ends early: it breaks off" in capsys.readouterr().err


@pytest.fixture
def two_policies(make_bundle) -> tuple[Path, Path]:
    return make_bundle(), make_bundle(action=(0.03, 0, 0, 0, 0, 0, 1))


def speakers(bag: Bag, paths: tuple[Path, Path]) -> list[Speaker]:
    policies = [OnnxPolicy(PolicyBundle.open(path)) for path in paths]
    return [
        Speaker(bag, session, policy, latency)
        for session, policy, latency in zip(("one", "two"), policies, (60.0, 75.0))
    ]


def record_restart(bag: Bag, paths: tuple[Path, Path], off: float = 0.0) -> None:
    """Four commands of the first policy, `off` from what it answers, then three of the second."""
    for speaker, count, shift in zip(speakers(bag, paths), (4, 3), (off, 0.0)):
        speaker.show(picture(1), "cup")
        for _ in range(count):
            speaker.step(shift)
            bag.time += 0.2
        bag.time += 3.0
    bag.writer.close()


def test_each_session_is_judged_by_its_own_policy(
    two_policies, spec: RobotSpec, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    record_restart(Bag(tmp_path / "bag", spec), two_policies)
    code, summary = replay(capsys, tmp_path / "bag", "--policy", two_policies[1])
    first, second = summary["sessions"]
    assert code == 0 and (summary["commands"], summary["beyond_tolerance"]) == (7, 4)
    assert not summary["same_policy"] and not summary["agrees"]
    assert (first["session"], first["goals"], first["same_policy"], first["agrees"]) == ("one", ["cup"], False, False)
    assert (first["commands"], first["beyond_tolerance"]) == (4, 4) and first["largest_difference"][
        "dx"
    ] == pytest.approx(0.02, abs=1e-6)
    assert (second["session"], second["same_policy"], second["agrees"], second["commands"]) == ("two", True, True, 3)
    assert second["fingerprint"] == PolicyBundle.open(two_policies[1]).fingerprint
    main(["replay", str(tmp_path / "bag"), "--policy", str(two_policies[1])])
    printed = capsys.readouterr().out
    assert (
        f"another policy (recorded: {first['fingerprint'][:12]})" in printed
        and "4 of 4 beyond the bundle's tolerance, as" in printed
    )


def test_other_answers_on_its_own_session_are_an_error(
    two_policies, spec: RobotSpec, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    record_restart(Bag(tmp_path / "bag", spec), two_policies, off=0.004)
    assert replay(capsys, tmp_path / "bag", "--policy", two_policies[0])[0] == 1
    assert replay(capsys, tmp_path / "bag", "--policy", two_policies[1])[0] == 0


def test_commands_whose_goal_cannot_be_told_are_not_compared(
    two_policies, spec: RobotSpec, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The recorder came when both nodes were long at it."""
    bag = Bag(tmp_path / "bag", spec)
    one, two = speakers(bag, two_policies)
    one.show(picture(1), "cup")
    two.show(picture(2), "spoon")
    for k in range(8):
        if k == 6:
            one.show(picture(3), "fork")
        one.step()
        bag.time += 0.1
        two.step()
        bag.time += 0.5
    bag.writer.close()
    code, summary = replay(capsys, tmp_path / "bag", "--policy", two_policies[0])
    assert code == 0 and summary["goal_untold"] == 6 + 8
    first, second = summary["sessions"]
    assert (first["commands"], first["goal_untold"], first["agrees"]) == (2, 6, True)
    assert (second["commands"], second["goal_untold"], second["agrees"]) == (0, 8, None)
    main(["replay", str(tmp_path / "bag"), "--policy", str(two_policies[0])])
    assert "8 commands not compared, as it cannot be told which goal was theirs" in capsys.readouterr().out
