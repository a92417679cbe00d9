"""The subcommands of `mqe`, one module each; heavy imports stay inside run()."""
