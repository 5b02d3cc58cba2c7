"""Faxgate: a mail server that faxes. README.md in this folder is the map."""

__version__ = "0.1.0"
