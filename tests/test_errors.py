"""The tree of errors is the drawn one, and what an error says is fit for strangers."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re

import pytest

import gateway
from gateway import errors
from gateway.errors import ConfigError, GatewayError, Outcome, Refused, Unavailable, Uncertain


def classes() -> dict[str, type[GatewayError]]:
    return {
        name: found
        for name, found in vars(errors).items()
        if inspect.isclass(found) and issubclass(found, GatewayError) and found is not GatewayError
    }


def drawn() -> dict[str, str]:
    """Class -> parent, as the module's docstring draws it."""
    parents, above = {}, ["GatewayError"]
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"    ([│ ]*)[├└]─ ([A-Za-z]+)", line):
            depth = len(found[1]) // 3
            parents[found[2]] = above[depth]
            above[depth + 1 :] = [found[2]]
    return parents


def test_the_tree_is_the_drawn_one() -> None:
    assert {name: found.__bases__[0].__name__ for name, found in classes().items()} == drawn()


def test_no_room_has_errors_of_its_own() -> None:
    for module in pkgutil.walk_packages(gateway.__path__, "gateway."):
        if not module.name.endswith(("__main__", "migrations.env")) and ".versions." not in module.name:
            importlib.import_module(module.name)
    found, todo = set(), [GatewayError]
    while todo:
        below = todo.pop().__subclasses__()
        found |= {one.__module__ for one in below}
        todo += below
    assert found == {"gateway.errors"}


@pytest.mark.parametrize("kind", [found for found in classes().values() if found is not ConfigError])
def test_the_docstring_is_the_default_message(kind: type[GatewayError]) -> None:
    error = kind()
    assert error.text == str(error) == (kind.__doc__ or "").strip()
    assert error.text.endswith(".")
    assert kind("in other words").text == "in other words"


def test_an_error_is_of_one_kind_only() -> None:
    for found in classes().values():
        assert sum(issubclass(found, kind) for kind in (Refused, Unavailable, Uncertain)) <= 1


@pytest.mark.parametrize("kind", [found for found in classes().values() if issubclass(found, Refused)])
def test_a_refusal_is_permanent_and_names_an_outcome(kind: type[Refused]) -> None:
    error = kind()
    assert re.fullmatch(r"55[0-9] 5\.[0-9]{1,3}\.[0-9]{1,3}", error.reply)
    assert error.outcome in Outcome
    assert kind(reply="552 5.3.4").reply == "552 5.3.4"


@pytest.mark.parametrize("kind", [found for found in classes().values() if issubclass(found, Unavailable)])
def test_what_is_unavailable_is_temporary(kind: type[Unavailable]) -> None:
    assert kind.reply.startswith(("450 4.", "451 4."))


def test_a_configuration_error_names_file_and_key() -> None:
    assert ConfigError("gateway.toml", "smtp.listen", "is missing").text == "gateway.toml: smtp.listen: is missing"
    assert ConfigError("gateway.toml", "", "is not TOML").text == "gateway.toml: is not TOML"
    assert not issubclass(ConfigError, Refused | Unavailable | Uncertain)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_is_a_plain_word(outcome: Outcome) -> None:
    assert outcome.value == outcome.name.lower()
    assert len(outcome.value) <= 20, "what the tables hold"
