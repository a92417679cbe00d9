"""A policy computes on the device that was asked for, or says what is missing; never silently elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from mqe_core.cli import main
from mqe_core.policy import sessions
from mqe_core.policy.bundle import PolicyBundle


class Session:
    """Stands in for onnxruntime's: it runs on `takes`, whatever is asked for, and keeps what that was."""

    takes: list[str] = []
    asked: list[Any] = []

    def __init__(self, data: bytes, options: onnxruntime.SessionOptions, providers: list[Any]) -> None:
        Session.asked = providers

    def get_providers(self) -> list[str]:
        return self.takes


@pytest.fixture()
def with_gpu_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [sessions._CUDA, sessions._CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)


def test_the_usual_onnxruntime_says_what_to_install(
    make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [sessions._CPU])
    with pytest.raises(ValueError, match="pip uninstall -y onnxruntime, then pip install -r requirements/cuda.txt"):
        PolicyBundle.open(make_bundle(), device="cuda")
    assert main(["serve", "--policy", str(make_bundle()), "--device", "cuda", "--without-keys"]) != 0
    assert "requirements/cuda.txt" in capsys.readouterr().err


@pytest.mark.usefixtures("with_gpu_build")
def test_a_gpu_computes_without_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "takes", [sessions._CUDA, sessions._CPU])
    sessions.start_session(b"", 1, "cuda")
    assert Session.asked == [(sessions._CUDA, {"use_tf32": "0"}), sessions._CPU]
    sessions.start_session(b"", 1)
    assert Session.asked == [sessions._CPU]


@pytest.mark.usefixtures("with_gpu_build")
def test_a_gpu_that_onnxruntime_cannot_use_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "takes", [sessions._CPU])
    with pytest.raises(ValueError, match="found no GPU that it can use"):
        sessions.start_session(b"", 1, "cuda")


def test_a_device_of_another_name_is_refused() -> None:
    with pytest.raises(ValueError, match="device must be one of cpu, cuda, got 'tpu'"):
        sessions.start_session(b"", 1, "tpu")
