"""Promise: a node ends soon after its signal, even where the middleware does not."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

_HANGS = """
import sys, time
from mqe_ros.running import ControlNode, run_node


class Hanging(ControlNode):
    def __init__(self):
        super().__init__("hanging")

    def control(self):
        print("runs", flush=True)
        while self.sleep_until(time.monotonic() + 0.1):
            {control}

    def destroy_node(self):
        time.sleep(60.0)


sys.exit(run_node(Hanging))
"""


@pytest.mark.parametrize(("control", "code"), [("pass", 0), ("raise ValueError('no more')", 1)])
def test_middleware_that_does_not_end_is_left(tmp_path: Path, control: str, code: int) -> None:
    script = tmp_path / "hanging.py"
    script.write_text(_HANGS.format(control=control))
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"runs\n"
        told = time.monotonic()
        if code == 0:
            process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30.0)
    assert process.returncode == code and time.monotonic() - told < 10.0
    assert b"hanging: the middleware did not end within 3 s and is left" in said and b"destroy_node" in said
    assert (b"hanging: no more" in said) == (code == 1)
