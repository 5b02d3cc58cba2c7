"""GUIDs: ours as theirs, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fax import new_id
from gateway.web.guid import guid_of, id_of


@pytest.mark.parametrize("prefix", ["tx", "in"])
def test_a_guid_leads_back_to_its_id(prefix: str) -> None:
    for _ in range(200):
        identity = new_id(prefix)
        guid = guid_of(identity)
        assert len(guid) == 40
        assert id_of(guid) == identity
        assert id_of(guid.upper()) == identity


def test_a_sent_and_a_received_fax_of_the_same_bits_have_different_guids() -> None:
    identity = new_id("tx")
    assert guid_of(identity) != guid_of("in_" + identity[3:])


def test_the_smallest_and_the_largest_id_have_guids() -> None:
    for digits in ("0" * 26, "7" + "z" * 25):
        assert id_of(guid_of("tx_" + digits)) == "tx_" + digits


def test_a_mistyped_guid_is_nobodys() -> None:
    guid = guid_of(new_id("tx"))
    for place in (0, 5, 31, 32, 39):
        other = "0" if guid[place] != "0" else "1"
        assert id_of(guid[:place] + other + guid[place + 1 :]) is None


@given(st.text(max_size=60))
def test_any_text_is_answered(text: str) -> None:
    assert id_of(text) is None


@pytest.mark.parametrize("identity", ["", "sub_" + "0" * 26, "tx_" + "8" + "0" * 25, "tx_" + "u" * 26, "tx_" + "0" * 25])
def test_what_is_no_id_has_no_guid(identity: str) -> None:
    with pytest.raises(ValueError):
        guid_of(identity)
