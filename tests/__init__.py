"""Tests of Faxgate."""
