"""The queue is read page by page."""

import json
import re

from tests.flows.house import House, fresh, letter


def test_the_next_page_begins_after_the_last_fax_of_this_one(open_house: House) -> None:
    numbers = [fresh("14") for _ in range(5)]
    open_house.send(letter("Pages"), *numbers)
    whole = [fax["id"] for fax in json.loads(open_house.cli("queue", "--all", "--limit", "5", "--json").stdout)]
    first = open_house.cli("queue", "--all", "--limit", "3").stdout
    more = re.search(r"--before (tx_[0-9a-z]+)", first)
    assert more is not None
    assert more[1] == whole[2]
    second = json.loads(open_house.cli("queue", "--all", "--limit", "2", "--before", more[1], "--json").stdout)
    assert [fax["id"] for fax in second] == whole[3:]


def test_a_page_before_a_fax_that_is_not_there_is_refused(open_house: House) -> None:
    refused = open_house.cli("queue", "--before", "tx_nowhere", check=False)
    assert refused.returncode == 1
    assert "There is no fax" in refused.stderr


def test_a_queue_that_is_all_shown_names_no_next_page(open_house: House) -> None:
    assert "--before" not in open_house.cli("queue", "--state", "held").stdout
