"""Habits of commands, and how they are stopped; files that appear whole; quiet libraries; where things lie on disk.

This room knows no PVT.
"""
