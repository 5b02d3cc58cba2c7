"""Behind a real Postfix, which relays our domain to us: over SMTP, and over LMTP with an answer for each recipient."""

from __future__ import annotations

import re
import shutil
import smtplib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows import postfix
from tests.flows.house import DOMAIN, SENDER, House, as_bytes, fresh, letter
from tests.flows.postfix import Postfix

pytestmark = pytest.mark.skipif(bool(postfix.missing()), reason=postfix.missing())


def hand_over(server: Postfix, *addresses: str, proof: str = "") -> None:
    """A mail to Postfix, which takes everything."""
    with smtplib.SMTP("127.0.0.1", server.port, timeout=60) as client:
        assert client.sendmail(SENDER, addresses, proof.encode() + as_bytes(letter(To=", ".join(addresses)))) == {}


@pytest.fixture
def meeting_place() -> Iterator[Path]:
    """A folder that Postfix's own user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="lmtp-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def answers(server: Postfix) -> dict[str, str]:
    """What became of each address of our domain: Postfix's own word."""
    return dict(re.findall(rf"to=<([^>]*@{re.escape(DOMAIN)})>.* status=([a-z]+)", server.logged()))


def test_postfix_relays_to_us_over_smtp(house: House) -> None:
    good, bad = fresh(), "911"
    house.start()
    with postfix.running({DOMAIN: f"smtp:[127.0.0.1]:{house.smtp_port}"}) as server:
        hand_over(server, f"FAX={good}/REF-X=1@{DOMAIN}", f"{bad}@{DOMAIN}")
        house.wait(lambda: house.faxes(good), 30, "the mail to come through")
        assert house.fax(good)["state"] == "delivered"
        house.wait(
            lambda: answers(server).get(f"{bad}@{DOMAIN}") == "bounced", 30, "the wrong number to be given back by Postfix"
        )
        house.wait(lambda: server.queue() == 0, 30, "Postfix's queue to be empty")
    assert len(house.calls(good)) == 1
    assert [fax["number"] for fax in house.faxes()] == [good]


def test_mail_waits_at_postfix_while_we_are_away_and_is_faxed_once(house: House) -> None:
    number = fresh()
    with postfix.running({DOMAIN: f"smtp:[127.0.0.1]:{house.smtp_port}"}) as server:
        hand_over(server, f"{number}@{DOMAIN}")
        house.wait(lambda: "status=deferred" in server.logged(), 30, "Postfix to find nobody")
        house.start()
        house.wait(lambda: house.faxes(number), 60, "Postfix to try again")
        assert house.fax(number)["state"] == "delivered"
        house.wait(lambda: server.queue() == 0, 30, "Postfix's queue to be empty")
    assert len(house.calls(number)) == 1


def test_postfix_relays_to_us_over_lmtp_one_answer_for_each_recipient(house: House, meeting_place: Path) -> None:
    good, other, abroad, short = fresh(), fresh(), "+442079460123", "5550123"
    door = meeting_place / "lmtp.sock"
    house.settings["lmtp"] = {"listen": [str(door)]}
    house.settings["smtp"]["authserv_ids"] = ["mx.example.com"]
    house.settings["account"][0]["dmarc"] = True
    house.start()
    door.chmod(0o666)
    with postfix.running({DOMAIN: f"lmtp:unix:{door}"}) as server:
        everybody = [f"{one}@{DOMAIN}" for one in (good, other, abroad, short, "postmaster")]
        # What a filter at Postfix found out about the sender; without it a mail proves nothing, though its client is near.
        hand_over(server, *everybody, proof="Authentication-Results: mx.example.com; dmarc=pass header.from=example.com\r\n")
        house.wait(lambda: house.faxes(other), 60, "the mail to come through")
        hand_over(server, f"{fresh()}@{DOMAIN}")
        house.wait(lambda: server.queue() == 0 and len(answers(server)) == 6, 60, "Postfix to have all answers")
        assert answers(server) == {
            f"{good}@{DOMAIN}": "sent",
            f"{other}@{DOMAIN}": "sent",
            f"{abroad}@{DOMAIN}": "bounced",
            f"{short}@{DOMAIN}": "bounced",
            f"postmaster@{DOMAIN}": "sent",
        } | {one: "bounced" for one in answers(server) if one not in everybody}
        assert "550 5.7." in server.logged()
    assert [house.fax(number)["state"] for number in (good, other)] == ["delivered", "delivered"]
    assert len(house.faxes()) == 2
    house.wait(lambda: any(one.recipients == ["operator@example.com"] for one in house.sink.letters), 30, "the operator's copy")
