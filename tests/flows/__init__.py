"""Whole-program flows: the real program, real sockets, real clients."""
