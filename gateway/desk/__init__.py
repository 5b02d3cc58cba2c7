"""The counter behind every door: identity, admission, submit, steer."""
