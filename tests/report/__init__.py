"""Tests of the mails to people."""
