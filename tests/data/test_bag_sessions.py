"""Promise: goals and policies of a recording are matched to the sessions they belong to, and where that is impossible
nothing is guessed.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mqe_core import ros_names
from mqe_core.cli import main
from mqe_core.data.readers.bag_messages import NewestImages, bag_files
from mqe_core.data.readers.bag_sessions import Sessions, recorded_decisions
from mqe_core.policy.bundle import PolicyBundle
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.onnx_policy import OnnxPolicy
from tests.data.written_bag import Bag, Speaker, picture


@pytest.fixture
def bag(spec: RobotSpec, tmp_path: Path) -> Bag:
    return Bag(tmp_path / "bag", spec)


@pytest.fixture
def pair(bag: Bag, make_bundle) -> list[Speaker]:
    """Two policy nodes with different policies."""
    paths = (make_bundle(), make_bundle(action=(0.03, 0, 0, 0, 0, 0, 1)))
    policies = [OnnxPolicy(PolicyBundle.open(path)) for path in paths]
    return [
        Speaker(bag, session, policy, latency)
        for session, policy, latency in zip(("one", "two"), policies, (60.0, 75.0))
    ]


def goals_of_commands(folder: Path) -> dict[str, list[list[int]]]:
    """By session and command: the seeds of the pictures that its goal may be."""
    files = bag_files(folder)
    told: dict[str, list[list[int]]] = {"one": [], "two": []}
    for decision in recorded_decisions(files, Sessions(files), NewestImages()):
        assert decision.image is not None
        told[decision.session].append(
            [next(seed for seed in range(9) if np.array_equal(picture(seed), goal)) for goal in decision.goals]
        )
    return told


def alternate(bag: Bag, speakers: list[Speaker], count: int) -> None:
    """`count` periods in which each gives one command."""
    for _ in range(count):
        for speaker in speakers:
            speaker.step()
            bag.time += 0.2 / len(speakers)


def test_a_second_node_leaves_the_goal_of_the_first_one_alone(bag: Bag, pair: list[Speaker], tmp_path: Path) -> None:
    one, two = pair
    one.show(picture(1), "cup")
    alternate(bag, [one], 20)
    two.show(picture(2), "spoon")
    bag.time += 0.02
    alternate(bag, [one, two], 20)
    one.show(picture(3), "fork")  # it is given another goal while the second one is still there
    alternate(bag, [one, two], 10)
    alternate(bag, [one], 10)
    bag.writer.close()
    told = goals_of_commands(tmp_path / "bag")
    assert told["one"] == 40 * [[1]] + 20 * [[3]] and told["two"] == 30 * [[2]]


def test_two_that_begin_in_one_second_are_told_by_the_order(bag: Bag, pair: list[Speaker], tmp_path: Path) -> None:
    one, two = pair
    two.show(picture(2), "spoon")
    bag.time += 0.02
    two.speak("waiting")
    bag.time += 0.2
    one.show(picture(1), "cup")
    bag.time += 0.02
    alternate(bag, pair, 10)
    bag.writer.close()
    assert goals_of_commands(tmp_path / "bag") == {"one": 10 * [[1]], "two": 10 * [[2]]}


def test_two_that_show_their_goals_at_once_are_not_guessed(bag: Bag, pair: list[Speaker], tmp_path: Path) -> None:
    for seed, speaker in enumerate(pair):
        speaker.show(picture(seed), "cup")
    bag.time += 0.02
    alternate(bag, pair, 3)
    bag.writer.close()
    assert goals_of_commands(tmp_path / "bag") == {"one": 3 * [[0, 1]], "two": 3 * [[0, 1]]}


def test_two_with_the_same_goal_are_no_riddle(bag: Bag, pair: list[Speaker], tmp_path: Path) -> None:
    for speaker in pair:
        speaker.show(picture(1), "cup")
        bag.time += 0.001
    alternate(bag, pair, 3)
    bag.writer.close()
    assert goals_of_commands(tmp_path / "bag") == {"one": 3 * [[1]], "two": 3 * [[1]]}


def test_a_goal_that_nobody_began_may_be_of_any_session(bag: Bag, pair: list[Speaker], tmp_path: Path) -> None:
    """A goal that came as a message has no name, so a second one is no beginning in /policy/status."""
    one, two = pair
    one.show(picture(1), "(image)")
    alternate(bag, [one], 10)
    two.show(picture(2), "spoon")
    bag.time += 0.02
    alternate(bag, pair, 10)
    one.show(picture(3), "(image)")
    alternate(bag, pair, 5)
    bag.writer.close()
    told = goals_of_commands(tmp_path / "bag")
    assert told["one"] == 20 * [[1]] + 5 * [[1, 3]] and told["two"] == 10 * [[2]] + 5 * [[2, 3]]


def test_a_goal_is_known_in_the_next_bag_too(bag: Bag, pair: list[Speaker], spec: RobotSpec, tmp_path: Path) -> None:
    one, two = pair
    one.show(picture(1), "cup")
    alternate(bag, [one], 10)
    two.show(picture(2), "spoon")
    shown = bag.time
    alternate(bag, pair, 10)
    bag.writer.close()
    later = Bag(tmp_path / "bag-2", spec)
    later.time = shown  # the recorder repeats the newest goal as it came
    later.image(ros_names.GOAL_IMAGE, picture(2))
    later.time = bag.time
    for speaker in pair:
        speaker.bag = later
    alternate(later, pair, 5)
    later.writer.close()
    assert goals_of_commands(tmp_path / "bag") == {"one": 25 * [[1]], "two": 15 * [[2]]}


def test_an_image_of_the_bag_before_is_found(bag: Bag, pair: list[Speaker], spec: RobotSpec, tmp_path: Path) -> None:
    pair[0].show(picture(1), "cup")
    pair[0].step()
    later = Bag(tmp_path / "bag-2", spec)
    later.time = bag.time + 0.1
    later.command(2, 1.0, "one", image_time=bag.time)
    for each in (bag, later):
        each.writer.close()
    assert goals_of_commands(tmp_path / "bag")["one"] == 2 * [[1]]


def test_policies_are_told_by_what_they_say_of_their_commands(bag: Bag, pair: list[Speaker], tmp_path: Path) -> None:
    one, two = pair
    one.show(picture(1), "cup")
    alternate(bag, [one], 3)
    two.show(picture(2), "spoon")
    alternate(bag, pair, 10)
    bag.writer.close()
    sessions = Sessions(bag_files(tmp_path / "bag"))
    told = sessions.fingerprints()
    assert (
        sessions.names == ["one", "two"]
        and set(told.values()) == sessions.stated_fingerprints()
        and told["one"] != told["two"]
    )


def test_policies_that_say_the_same_are_not_guessed(spec: RobotSpec, make_bundle, tmp_path: Path) -> None:
    bag = Bag(tmp_path / "bag", spec)
    policies = [OnnxPolicy(PolicyBundle.open(make_bundle(action=(dx, 0, 0, 0, 0, 0, 1)))) for dx in (0.01, 0.03)]
    pair = [Speaker(bag, session, policy) for session, policy in zip(("one", "two"), policies)]
    for speaker in pair:
        speaker.show(picture(1), "cup")
    alternate(bag, pair, 5)
    bag.writer.close()
    assert Sessions(bag_files(tmp_path / "bag")).fingerprints() == {}


def test_replay_counts_the_goals_that_the_policy_would_refuse(bag: Bag, make_bundle, tmp_path: Path, capsys) -> None:
    """Each goal once, however many commands it got; what comes back within reach does not count."""
    recorder, judge = make_bundle(), make_bundle(unreachable_steps=100.0)
    speaker = Speaker(bag, "one", OnnxPolicy(PolicyBundle.open(recorder)))
    for goal, name in ((picture(1), "own"), (picture(2) // 8, "other"), (picture(3), "own2"), (picture(4) // 8, "4")):
        speaker.show(goal, name)
        alternate(bag, [speaker], 2 if name == "4" else 12)
    bag.writer.close()
    for policy, refused in ((recorder, 0), (judge, 1)):
        assert main(["replay", str(tmp_path / "bag"), "--policy", str(policy), "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert said["refused_goals"] == refused and said["sessions"][0]["refused_goals"] == refused
    assert main(["replay", str(tmp_path / "bag"), "--policy", str(judge)]) == 0
    assert "1 of its goals this policy refuses as unreachable" in capsys.readouterr().out
