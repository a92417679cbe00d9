"""Promise: docs/ros.md and docs/operating.md name the topics, parameters and arguments that the code has."""

from __future__ import annotations

import ast
import importlib.util
import math
import sys

import pytest

from mqe_core import ros_names
from tests.docs.page_tables import BRINGUP_SOURCES, ROS_SOURCES, calls, quoted, rows

KINDS = {"str": "text", "float": "number", "int": "whole number", "bool": "true or false"}


NAMES = {name: value for name, value in vars(ros_names).items() if name.isupper()}


def text(node: ast.expr) -> str:
    """A text, or the constant of ours that holds one."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    return NAMES[getattr(node, "id", getattr(node, "attr", ""))]


def test_every_topic_stands_there_with_its_type_and_qos() -> None:
    qos = {"NEWEST": "newest", "HISTORY": "history", "LATCHED": "latched"}
    in_code: dict[str, tuple[str, str]] = {}
    for call in calls(ROS_SOURCES / "topics.py", "Topic"):
        name, kind, quality = call.args
        in_code[text(name)] = (ast.unparse(kind), qos[ast.unparse(quality)])
    on_page: dict[str, tuple[str, str]] = {}
    for row in rows("ros.md", "Topics, services, the action"):
        for name in quoted(row["name"]):
            if row["QoS"] != "–":
                on_page[name] = (row["type"].split("/")[1].split()[0].rstrip(","), row["QoS"].split(";")[0])
    assert on_page == in_code


def test_every_service_and_the_action_stand_there() -> None:
    listed = {name for row in rows("ros.md", "Topics, services, the action") for name in quoted(row["name"])}
    assert set(NAMES.values()) - {ros_names.CAMERA_INFO} <= listed


# The tables of the nodes' parameters load no ROS: they are there without a built workspace.
_FILE = importlib.util.spec_from_file_location("node_parameters", ROS_SOURCES / "parameters.py")
assert _FILE is not None and _FILE.loader is not None
PARAMETERS = sys.modules[_FILE.name] = importlib.util.module_from_spec(_FILE)
_FILE.loader.exec_module(PARAMETERS)


def default_in_words(parameter) -> str:
    """As the page's cell states it."""
    default = parameter.default
    if default is None:
        return parameter.otherwise or "must be given"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, str):
        return f"`{default}`" if default else "empty"
    return "NaN" if math.isnan(default) else f"{default:g}".replace("-", "−")


@pytest.mark.parametrize("node", sorted(PARAMETERS.NODES))
def test_each_nodes_parameters_stand_there_with_type_default_and_range(node: str) -> None:
    on_page = {quoted(row["parameter"])[0]: row for row in rows("ros.md", f"{node} parameters")}
    assert list(on_page) == [parameter.name for parameter in PARAMETERS.NODES[node]]
    only = {option: f" for `{camera}`" for camera, options in PARAMETERS.CAMERAS.items() for option in options}
    for parameter in PARAMETERS.NODES[node]:
        row = on_page[parameter.name]
        assert row["type"] == KINDS[parameter.kind.__name__], parameter.name
        suffix = only.get(parameter.name, "") if node == "camera_node" else ""
        assert row["default"] == default_in_words(parameter) + suffix, parameter.name
        assert parameter.range in row["range and meaning"], parameter.name


def test_each_node_declares_its_own_table() -> None:
    for node in PARAMETERS.NODES:
        source = (ROS_SOURCES / f"{node}.py").read_text(encoding="utf-8")
        assert f'super().__init__("{node}", {node.upper()})' in source


def test_the_launch_arguments_stand_in_operating_with_their_defaults() -> None:
    in_code = {}
    for call in calls(BRINGUP_SOURCES / "arguments.py", "Argument"):
        name, default = (ast.literal_eval(argument) for argument in call.args[:2])
        in_code[name] = f"`{default}`" if default else "empty"
    on_page = {quoted(row["argument"])[0]: row["default"] for row in rows("operating.md", "Starting")}
    assert on_page == in_code
