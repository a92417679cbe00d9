"""A node's table of parameters becomes ROS parameters: with type, meaning and range, and read-only where they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from mqe_core.files.near_names import did_you_mean
from mqe_ros.parameters import Parameter

_TYPES = {
    str: RosParameter.Type.STRING,
    float: RosParameter.Type.DOUBLE,
    int: RosParameter.Type.INTEGER,
    bool: RosParameter.Type.BOOL,
}


def declare(node: Node, table: Sequence[Parameter]) -> None:
    """Declare all of them, and refuse later values outside their ranges. ValueError where a given value is wrong."""
    by_name = {parameter.name: parameter for parameter in table}
    for parameter in table:
        _declare(node, parameter)

    def check(given: list[RosParameter]) -> SetParametersResult:
        """rclpy knows neither ranges that begin above a number nor what NaN means."""
        try:
            for parameter in given:
                if parameter.name in by_name and parameter.value is not None:
                    by_name[parameter.name].check(parameter.value)
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(check)


def unknown(node: Node) -> list[str]:
    """A line for each parameter that the node was given and does not have; ROS itself passes them over."""
    lines = []
    for name in node._parameter_overrides:  # rclpy has no other way to ask
        if not node.has_parameter(name) and not name.startswith("qos_overrides."):
            lines.append(f"there is no parameter {name}{did_you_mean(name, node._parameters)}")
    return lines


def _declare(node: Node, parameter: Parameter) -> None:
    name, default = parameter.name, parameter.default
    begin: Any = _TYPES[parameter.kind] if default is None else default
    try:
        value = node.declare_parameter(name, begin, _descriptor(parameter)).value
    except InvalidParameterTypeException as error:
        raise ValueError(f"the parameter {name} must be of type {parameter.kind.__name__}: {error}") from error
    except InvalidParameterValueException as error:
        raise ValueError(f"the parameter {name} must be a number {parameter.range}: {error}") from error
    if value is not None:
        parameter.check(value)


def _descriptor(parameter: Parameter) -> ParameterDescriptor:
    """What ROS tools show of a parameter."""
    descriptor = ParameterDescriptor(
        name=parameter.name,
        type=_TYPES[parameter.kind].value,
        description=parameter.meaning,
        additional_constraints=" or ".join(filter(None, (parameter.range, "NaN" if parameter.may_be_nan else ""))),
        read_only=not parameter.read_again,
    )
    begin = parameter.at_least if parameter.above is None else parameter.above
    if begin is None or parameter.at_most is None or parameter.may_be_nan:  # rclpy would refuse NaN
        return descriptor
    if parameter.kind is int:
        descriptor.integer_range = [IntegerRange(from_value=math.ceil(begin), to_value=int(parameter.at_most))]
    else:
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(begin), to_value=float(parameter.at_most))
        ]
    return descriptor
