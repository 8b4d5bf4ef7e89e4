"""Habits of commands, how they are stopped, files that appear whole, quiet libraries, where things lie on disk; this room knows no PVT."""
