"""The console, `xplique-craft`: one command a file."""
