"""One reader per published format, and what they share."""
