"""Tests of the carriers. `conformance` is for every adapter, `server` is a far end that misbehaves on demand."""
