"""The operator's console in a browser: who may reach it, what it may read and write, and its page."""
