"""The `mqe` command: finds its subcommands and turns expected errors into one plain line.

A subcommand is a module of ``mqe_core.commands``, or one named in the entry-point group ``mqe.commands``: so the
simulator and other packages add commands without being imported here. It has a docstring, whose first line is the help,
``add_arguments(parser)`` and ``run(args) -> int``. What is heavy (torch, PyBullet) is imported only inside the ``run``
that needs it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from types import ModuleType

_INTERRUPTED = 130  # exit code after Ctrl-C


def build_parser() -> argparse.ArgumentParser:
    """The parser with one subparser per installed command."""
    import argparse
    from importlib import import_module
    from importlib.metadata import entry_points

    from mqe_core import __version__
    from mqe_core.command_line import Parser
    from mqe_core.commands import COMMANDS

    parser = Parser(prog="mqe", description="Goal-conditioned policies from robot trajectories to a WidowX250.")
    parser.add_argument("--version", action="version", version=f"mqe {__version__}")
    parser.add_argument("--debug", action="store_true", help="log at debug level and show tracebacks")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    modules = {name: import_module(f"mqe_core.commands.{name}") for name in COMMANDS}
    # An installation of version 0.1 has ours as entry points, too.
    modules |= {each.name: each.load() for each in entry_points(group="mqe.commands") if each.name not in modules}
    for name, module in sorted(modules.items()):
        text = _docstring(module)
        sub = subparsers.add_parser(
            name,
            help=text.partition("\n")[0],
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return parser


def _docstring(module: ModuleType) -> str:
    """The module's docstring, also where Python left it out (-OO)."""
    import ast
    import inspect

    return (module.__doc__ or ast.get_docstring(ast.parse(inspect.getsource(module))) or "").strip()


def main(argv: list[str] | None = None) -> int:
    """Entry point of the console script; returns the process exit code."""
    for stream in (sys.stdout, sys.stderr):  # a file name that is not UTF-8 is shown, not an error
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        args = build_parser().parse_args(argv)
    except KeyboardInterrupt:  # while the commands were still being imported
        sys.stderr.write("mqe: interrupted\n")
        return _INTERRUPTED
    return _run(args)


def _run(args: argparse.Namespace) -> int:
    """Run the command; what can be expected to fail is told in one line."""
    import logging

    logging.basicConfig(
        level=logging.DEBUG if args.debug else logging.INFO,
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    try:
        code: int = args.run(args)
        return code
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
        return _INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
