"""Promise: a node's parameter has the value that was given, its default, or an error that names it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

import rclpy
from rclpy.context import Context
from rclpy.parameter import Parameter as RosParameter

from mqe_ros.declaring import declare, unknown
from mqe_ros.parameters import NODES, Parameter
from mqe_ros.running import ControlNode

TABLE = (
    Parameter("policy", str, None, "must be given"),
    Parameter("park", bool, None, "depends", otherwise="true on hardware"),
    Parameter("threads", int, 1, "cores", at_least=1, at_most=64),
    Parameter("rate_hz", float, 20.0, "Hz", above=0, at_most=1000),
    Parameter("slot_s", float, math.nan, "s", at_least=0, at_most=1),
)
AGAIN = tuple(replace(parameter, read_again=True) for parameter in TABLE)


@pytest.fixture
def node(ros: None) -> Iterator[ControlNode]:
    node = ControlNode("parameters_test", AGAIN)
    yield node
    node.destroy_node()


def test_without_a_value_the_default_counts_or_what_stands_for_it(node: ControlNode) -> None:
    assert (node.value_of("threads"), node.value_of("rate_hz")) == (1, 20.0)
    assert math.isnan(node.value_of("slot_s"))
    assert node.value_of("park", otherwise=False) is False
    with pytest.raises(ValueError, match=r"the parameter policy must be given \(-p policy:=…\)"):
        node.value_of("policy")


def test_a_given_value_counts_and_a_number_outside_its_range_is_refused(node: ControlNode) -> None:
    node.set_parameters([RosParameter("policy", value="a.onnx"), RosParameter("park", value=True)])
    assert node.value_of("policy") == "a.onnx" and node.value_of("park", otherwise=False) is True
    for name, value in (
        ("threads", 0),
        ("threads", 65),
        ("threads", -(2**63)),
        ("rate_hz", 0.0),
        ("rate_hz", -1.0),
        ("rate_hz", math.nan),
        ("rate_hz", math.inf),
        ("rate_hz", 1001.0),
        ("slot_s", -0.1),
        ("slot_s", 2.0),
        ("slot_s", -math.inf),
    ):
        before = node.value_of(name)
        (answer,) = node.set_parameters([RosParameter(name, value=value)])
        assert not answer.successful and name in answer.reason and str(value) in answer.reason
        assert node.value_of(name) == pytest.approx(before, nan_ok=True)
    assert node.set_parameters([RosParameter("slot_s", value=math.nan)])[0].successful  # as measured
    assert node.set_parameters([RosParameter("rate_hz", value=1000.0)])[0].successful


def test_a_number_outside_its_range_at_the_start_is_said_in_our_words() -> None:
    threads, rate, slot = TABLE[2:]
    for parameter, value, expected in (
        (threads, 0, "threads must be a number from 1 to 64, got 0 \\(cores\\)"),
        (threads, 100_000, "threads must be a number from 1 to 64"),
        (rate, math.nan, "rate_hz must be a number above 0 up to 1,000, got nan"),
        (slot, 1.5, "slot_s must be a number from 0 to 1"),
    ):
        with pytest.raises(ValueError, match=expected):
            parameter.check(value)


@pytest.mark.parametrize(("given", "expected"), [("threads:=100000", "from 1 to 64"), ("rate_hz:=.nan", "above 0")])
def test_a_node_does_not_begin_with_a_number_outside_its_range(ros: None, given: str, expected: str) -> None:
    context = Context()
    rclpy.init(context=context, args=["--ros-args", "-p", given])
    try:
        node = rclpy.create_node("given", context=context)
        with pytest.raises(ValueError, match=f"must be a number {expected}"):
            declare(node, TABLE)
        node.destroy_node()
    finally:
        rclpy.shutdown(context=context)


def test_what_is_read_once_cannot_be_set_later(ros: None) -> None:
    node = ControlNode("fixed_test", TABLE)
    try:
        for name, value in (("threads", 2), ("slot_s", 0.1), ("rate_hz", 5.0)):
            before = node.value_of(name)
            (answer,) = node.set_parameters([RosParameter(name, value=value)])
            assert not answer.successful and "read-only" in answer.reason
            assert node.value_of(name) == pytest.approx(before, nan_ok=True)
    finally:
        node.destroy_node()


def test_each_number_has_a_range_and_only_the_policy_node_reads_again() -> None:
    for name, table in NODES.items():
        for parameter in table:
            if parameter.kind in (int, float):
                assert parameter.range and parameter.at_most is not None, parameter.name
                with pytest.raises(ValueError, match=parameter.name):
                    parameter.check(math.inf)
                if not parameter.may_be_nan:
                    with pytest.raises(ValueError, match="got nan"):
                        parameter.check(math.nan)
            assert parameter.read_again == (name == "policy_node" and parameter.name != "self_activate")


@pytest.mark.parametrize("name", sorted(NODES))
def test_every_default_is_of_its_type_and_within_its_range(name: str) -> None:
    table = NODES[name]
    assert len({parameter.name for parameter in table}) == len(table)
    for parameter in table:
        assert parameter.meaning
        if parameter.default is not None:
            assert type(parameter.default) is parameter.kind
            parameter.check(parameter.default)


def test_a_parameter_that_the_node_does_not_have_is_named_with_what_may_be_meant(ros: None) -> None:
    given = [RosParameter("thread", value=2), RosParameter("qos_overrides./x.publisher.depth", value=1)]
    node = rclpy.create_node("some_node", parameter_overrides=given)
    try:
        declare(node, [Parameter("threads", int, 1, "cores")])
        assert unknown(node) == ["there is no parameter thread; did you mean threads?"]
    finally:
        node.destroy_node()
