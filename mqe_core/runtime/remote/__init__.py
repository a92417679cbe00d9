"""A policy on another machine: server, client, what they say, and their keys."""
