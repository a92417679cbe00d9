"""Serve a policy to robots on the network: they send images, it answers actions.

mqe serve --make-keys                                        once: keys in ~/.mqe/keys
mqe serve --policy policy.onnx --bind tcp://0.0.0.0:5557     only clients with a key
mqe serve --policy policy.onnx --bind tcp://127.0.0.1:5557 --without-keys

The robot needs server.key and client.key_secret in its own ~/.mqe/keys, and policy_server:=tcp://HOST:5557.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mqe serve`."""
    parser.add_argument("--policy", metavar="FILE", type=Path, help="the .onnx file")
    parser.add_argument(
        "--bind",
        metavar="ADDRESS",
        default="tcp://127.0.0.1:5557",
        help="where to listen: PORT, HOST:PORT, or [IPv6]:PORT (default: %(default)s)",
    )
    parser.add_argument("--keys", metavar="DIR", type=Path, help="folder of the keys (default: ~/.mqe/keys)")
    parser.add_argument("--make-keys", action="store_true", help="make the keys, say where they lie, and end")
    parser.add_argument(
        "--without-keys", action="store_true", help="let anybody in; only on an address of this machine"
    )
    parser.add_argument("--threads", type=int, default=1, help="cores for one inference (default: %(default)s)")
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="where the policy computes (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    import signal
    import sys

    from mqe_core.policy.bundle import PolicyBundle
    from mqe_core.runtime.remote.keys import key_folder, make_keys
    from mqe_core.runtime.remote.policy_server import PolicyServer

    keys = args.keys or key_folder()
    if args.make_keys:
        for path in make_keys(keys):
            print(path)
        print(
            "copy server.key and client.key_secret into ~/.mqe/keys on the robot's computer; "
            f"{keys}/server.key_secret stays here"
        )
        return 0
    if args.policy is None:
        raise ValueError("--policy FILE is needed: the .onnx file to serve")
    bundle = PolicyBundle.open(args.policy, threads=args.threads, device=args.device)
    server = PolicyServer(bundle, args.bind, None if args.without_keys else keys)
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    who = "anybody on this machine" if args.without_keys else f"clients with a key in {keys / 'clients'}"
    sys.stderr.write(
        f"mqe serve: {args.policy} ({bundle.contract.agent}, {bundle.contract.domain} images) at "
        f"{server.address}, for {who}\n"
    )
    try:
        server.serve(lambda: stopping)
    finally:
        server.close()
    sys.stderr.write(
        "mqe serve: "
        + (", ".join(f"{count} {name}" for name, count in sorted(server.counts.items())) or "no request")
        + "\n"
    )
    return 0
