"""The `mqe` command: finds its subcommands and turns expected errors into one plain line.

A subcommand is a module of ``mqe_core.commands``, or one named in the entry-point group ``mqe.commands``: so the
simulator and other packages add commands without being imported here. It has a docstring, whose first line is the help,
``add_arguments(parser)`` and ``run(args) -> int``. What is heavy (torch, PyBullet) is imported only inside the ``run``
that needs it.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from types import ModuleType

_INTERRUPTED = 130  # exit code after Ctrl-C
_BROKEN_PIPE = 141  # and where whoever reads the output has ended: as a shell shows SIGPIPE


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
    _open_streams()
    said = "mqe"
    try:
        args = build_parser().parse_args(argv)
        said = f"mqe {args.command}"
        return _run(args)
    except (KeyboardInterrupt, ImportError) as error:
        if not _interrupted(error):
            raise
        sys.stderr.write(f"{said}: interrupted\n")
        return _INTERRUPTED


def _interrupted(error: BaseException | None) -> bool:
    """Whether it is Ctrl-C, or what an import made of it: one of compiled code says "initialization failed"."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _open_streams() -> None:
    """A file name that is not UTF-8 is shown, not an error; what was closed (`>&-`) takes everything."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
        stream = getattr(sys, name)
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _run(args: argparse.Namespace) -> int:
    """Run the command; what can be expected to fail is told in one line."""
    from mqe_core.command_line import log_to_terminal, words_of
    from mqe_core.files.bounded import printable

    log_to_terminal(args.debug)

    def fails(said: str) -> int:
        sys.stderr.write(printable(f"mqe {args.command}: {said}") + "\n")
        return 1

    try:
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except (ValueError, RuntimeError, OSError) as error:
        if args.debug:
            raise
        if isinstance(error, BrokenPipeError) and _nobody_reads_on():
            return _BROKEN_PIPE
        return fails(words_of(error))
    except ModuleNotFoundError as error:
        if args.debug or _interrupted(error) or (error.name or "").startswith("mqe"):
            raise
        return fails(f"{error}; `make learn` installs what training needs, `make setup` the rest")
    finally:
        _let_go_of_output()


def _nobody_reads_on() -> bool:
    """Of what is printed, as in `mqe … | head`."""
    import select

    poll = select.poll()
    poll.register(sys.stdout, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _let_go_of_output() -> None:
    """What cannot be written is lost: Python would try again at its end, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
