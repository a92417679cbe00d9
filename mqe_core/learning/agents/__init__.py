"""One algorithm per file; each reads top to bottom: losses, update, action, configuration."""
