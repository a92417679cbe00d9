"""How onnxruntime runs a policy's graph: on which device, with how many threads."""

from __future__ import annotations

import onnxruntime

from mqe_core.policy.contract import BundleError

DEVICES = ("cpu", "cuda")
_MOST_THREADS = 64  # onnxruntime starts as many as it is told to
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_INSTALL = "pip uninstall -y onnxruntime, then pip install -r requirements/cuda.txt"


def start_session(data: bytes, threads: int, device: str = "cpu") -> onnxruntime.InferenceSession:
    """A session for the graph in `data`.

    On a GPU it computes in float32 without TF32, as the golden check expects it. ValueError where there is none for
    onnxruntime, and it would silently take the CPU; BundleError where it cannot run the graph.
    """
    if not 1 <= threads <= _MOST_THREADS:
        raise ValueError(f"threads must be at least 1 and at most {_MOST_THREADS}, got {threads}")
    if device not in DEVICES:
        raise ValueError(f"device must be one of {', '.join(DEVICES)}, got {device!r}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Between two ticks the cores belong to others.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    providers: list[str | tuple[str, dict[str, str]]] = [_CPU]
    if device == "cuda":
        if _CUDA not in onnxruntime.get_available_providers():
            raise ValueError(f"device cuda: this onnxruntime has no part for NVIDIA's GPUs: {_INSTALL}")
        providers = [(_CUDA, {"use_tf32": "0"}), _CPU]
    try:
        session = onnxruntime.InferenceSession(data, options, providers=providers)
    except Exception as error:  # onnxruntime raises classes of its own that share no public base
        raise BundleError(f"onnxruntime cannot run its graph: {error}; export it again with this version") from error
    if device == "cuda" and _CUDA not in session.get_providers():
        raise ValueError(
            "device cuda: onnxruntime found no GPU that it can use: look at nvidia-smi, and at the versions of CUDA "
            "and cuDNN that this onnxruntime needs"
        )
    return session
