"""The subcommands of `mqe`, one module each; heavy imports stay inside run().

Ours are listed here, so that a checkout that is brought up to date has its new ones without being installed again.
"""

COMMANDS = (
    "arm",
    "compare",
    "data",
    "doctor",
    "episode",
    "eval",
    "export",
    "goal",
    "inspect",
    "ogbench",
    "plot",
    "replay",
    "report",
    "run",
    "serve",
    "teleop",
    "train",
    "up",
)
