"""Habits of commands, files that appear whole, quiet libraries, where things lie on disk; this room knows no PVT."""
