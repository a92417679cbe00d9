"""ros2 launch mqe_bringup widowx.launch.py goal:=place.png [backend:=auto] …   (--show-args explains each)

The processes stand in mqe_bringup/graph.py, which `mqe up` reads as well; this file only translates them.
"""

import launch.logging
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    LogInfo,
    OpaqueFunction,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from mqe_bringup.arguments import ARGUMENTS
from mqe_bringup.graph import build_graph
from mqe_bringup.last_hold import hold_the_arm
from mqe_bringup.process import END_S, Process
from mqe_ros.only_arm import require_no_graph


def generate_launch_description() -> LaunchDescription:
    declared = [DeclareLaunchArgument(a.name, default_value=a.default, description=a.description) for a in ARGUMENTS]
    return LaunchDescription([*declared, OpaqueFunction(function=_start)])


def _start(context: LaunchContext) -> list:
    graph = build_graph({a.name: LaunchConfiguration(a.name).perform(context) for a in ARGUMENTS})
    require_no_graph(launch.logging.get_logger("mqe").warning)
    banner = [LogInfo(msg=line) for line in graph.banner]
    environment = [
        SetEnvironmentVariable(name, context.environment.get(name, value)) for name, value in graph.environment.items()
    ]
    return [*banner, *environment, *(_action(process) for process in graph.processes)]


def _hold(context: LaunchContext, name: str) -> list:
    if not context.is_shutdown and context.locals.event.returncode != 0:  # else this end was asked for
        return [LogInfo(msg=f"{name} ended: {hold_the_arm(name)}")]
    return []


def _action(process: Process) -> ExecuteProcess:
    if process.is_needed:  # one process missing is no robot
        end = [OpaqueFunction(function=_hold, args=[process.name]), Shutdown(reason=f"{process.name} ended")]
    else:
        end = [LogInfo(msg=f"{process.name} ended; the graph goes on without it")]
    if process.package is None:
        return ExecuteProcess(cmd=process.command, name=process.name, output="screen", on_exit=end)
    parameters = {
        name: ParameterValue(value, value_type=str) if isinstance(value, str) else value
        for name, value in process.parameters.items()
    }
    return Node(
        package=process.package,
        executable=process.executable,
        name=process.name,
        parameters=[parameters],
        remappings=list(process.remappings.items()),
        output="screen",
        on_exit=end,
        sigterm_timeout=str(END_S),
        sigkill_timeout=str(END_S),
    )
