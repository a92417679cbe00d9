"""The `mqe` command: finds its subcommands by entry point and turns expected errors into one plain line.

A subcommand is a module named in the entry-point group ``mqe.commands`` with a docstring (its first line is the help),
``add_arguments(parser)`` and ``run(args) -> int``. So the simulator and other packages add commands without being imported here,
and what is heavy (torch, PyBullet) is imported only inside the ``run`` that needs it.
"""

from __future__ import annotations

import argparse
import logging
import sys
from importlib.metadata import entry_points


def build_parser() -> argparse.ArgumentParser:
    """The parser with one subparser per installed command."""
    parser = argparse.ArgumentParser(
        prog="mqe", description="Goal-conditioned policies from robot trajectories to a WidowX250."
    )
    parser.add_argument("--debug", action="store_true", help="log at debug level and show tracebacks")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for entry in sorted(entry_points(group="mqe.commands"), key=lambda e: e.name):
        module = entry.load()
        summary = module.__doc__.strip().splitlines()[0]
        sub = subparsers.add_parser(
            entry.name, help=summary, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Entry point of the console script; returns the process exit code."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(
        level=logging.DEBUG if args.debug else logging.INFO,
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    try:
        return args.run(args)
    except (ValueError, RuntimeError, OSError) as error:
        if args.debug:
            raise
        sys.stderr.write(f"mqe {args.command}: {error}\n")
        return 1
    except ModuleNotFoundError as error:
        if args.debug or (error.name or "").startswith("mqe"):
            raise
        sys.stderr.write(
            f"mqe {args.command}: {error}; `make learn` installs what training needs, `make setup` the rest\n"
        )
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"mqe {args.command}: interrupted\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
