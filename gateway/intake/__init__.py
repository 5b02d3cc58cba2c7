"""1. Mail comes in: listeners, recipient addresses, who sent it."""
