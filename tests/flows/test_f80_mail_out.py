"""Mail out: refused for good and mailed again, signed, encrypted, and a mail server that is away for a day."""

from __future__ import annotations

import email
import email.policy
import json
from collections import Counter
from pathlib import Path
from typing import Any

import dkim
import pytest

from tests.flows.house import OWN_LINE, SENDER, House, Sink, fresh, letter
from tests.flows.test_f36_clock import Clock
from tests.report.test_signing import KEYS, pem
from tests.report.test_smime import certificate, opened


def lost_mails(house: House) -> list[dict[str, Any]]:
    """Those that were given up or came back, as `queue --mails` has them. Any: JSON."""
    found: list[dict[str, Any]] = json.loads(house.cli("queue", "--mails", "--json").stdout)
    return [one for one in found if one["state"] == "given up" or one["returned"]]


def test_que_14_a_mail_that_is_refused_for_good_is_shown_and_mailed_again(house: House) -> None:
    house.sink.refused_recipients.add(SENDER)
    house.start()
    mail, number = letter(), fresh()
    house.send(mail, number)
    (alarm,) = house.letters(1)
    (lost,) = lost_mails(house)
    assert (lost["state"], lost["about"]) == ("given up", house.fax(number)["id"])
    assert lost["answer"] == "550 5.1.1 nobody of that name"
    assert f"faxgate retry {lost['id']}" in alarm.flat
    told = house.cli("queue").stdout
    assert lost["id"] in told
    assert "550 5.1.1 nobody of that name" in told
    assert "550 5.1.1" in house.cli("show", lost["id"]).stdout
    assert "550 5.1.1" in house.cli("show", house.fax(number)["id"]).stdout
    house.sink.refused_recipients.clear()
    house.cli("retry", lost["id"])
    (report,) = house.reports(mail)
    assert "delivered" in report.subject
    assert lost_mails(house) == []
    assert len(house.calls(number)) == 1


def test_every_mail_is_signed_and_a_received_fax_is_encrypted_or_not_sent(house: House) -> None:
    key = house.folder / "dkim.pem"
    key.write_bytes(pem(KEYS["rsa"]()))
    reader = certificate(house.folder, days=3650)
    house.settings["mail"] |= {
        "dkim": [{"selector": "s1", "key_file": key.name}],
        "certificates": {"office@example.com": reader.name},
    }
    house.write_settings()
    (record,) = json.loads(house.cli("check-config", "--json").stdout)["dns"].items()
    assert record[0] == "s1._domainkey.fax.example.com"
    assert f'{record[0]}. IN TXT ( "v=DKIM1; k=rsa; p=' in house.cli("check-config").stdout
    house.start()
    house.send(letter("To ourselves", "A secret page.\n"), OWN_LINE)
    house.letters(2)
    for one in house.sink.letters:
        assert dkim.verify(
            one.content,
            dnsfunc=lambda name, timeout=0: record[1].encode() if name == b"s1._domainkey.fax.example.com." else None,
        )
    (sealed,) = [one for one in house.sink.letters if one.recipients == ["office@example.com"]]
    assert sealed.subject == "Fax received"
    inside = email.message_from_bytes(opened(sealed.content, reader), policy=email.policy.default)
    assert inside["X-Fax-Line"] == OWN_LINE
    assert any(part.get_content().startswith(b"%PDF") for part in inside.iter_attachments() if part.get_filename())

    good = reader.read_bytes()
    certificate(house.folder, days=-1)  # it has expired while nobody looked
    house.send(letter("To ourselves", "Another secret page.\n"), OWN_LINE)
    house.wait(lambda: [one for one in house.sink.letters if "cannot be mailed" in one.subject], what="the alarm")
    assert Counter(one.recipients[0] for one in house.sink.letters)["office@example.com"] == 1, "never in clear"
    held, _ = json.loads(house.cli("queue", "--received", "--json").stdout)
    assert held["state"] == "held"
    assert "expired on" in held["reason"]
    (lost,) = lost_mails(house)
    reader.write_bytes(good)
    house.cli("retry", lost["id"])
    house.wait(lambda: Counter(one.recipients[0] for one in house.sink.letters)["office@example.com"] == 2, what="the fax")
    house.wait(lambda: house.cli("show", held["id"]).stdout.count("mailed"), what="it to be mailed")
    certificate(house.folder, days=-1)
    refused = house.cli("check-config", check=False)
    assert refused.returncode == 78
    assert "mail.certificates.office@example.com" in refused.stderr
    assert "expired on" in refused.stderr
    assert not house.faults()


def test_the_next_smarthost_takes_the_mail(house: House) -> None:
    other = Sink()
    other.start()
    try:
        house.settings["mail"]["smarthost"] = [f"smtp://127.0.0.1:{one.port}" for one in (house.sink, other)]
        house.sink.stop()
        house.start()
        house.send(letter(), fresh())
        house.wait(lambda: other.letters, what="the report at the second mail server")
        assert "is asked last for" in house.log.read_text()
        assert 'faxgate_smarthosts_total{host="127.0.0.1",result="taken"} 1.0' in house.get("/metrics")[1]
    finally:
        other.stop()


@pytest.mark.needs("faketime")
def test_que_17_a_mail_server_that_is_away_for_a_day_loses_nothing(house: House, tmp_path: Path) -> None:
    """The program is killed and started again meanwhile; a clock that is ahead at a start is time that has passed."""
    clock = Clock(tmp_path / "time")
    house.environment = clock.environment
    house.sink.stop()
    house.start()
    numbers = [fresh() for _ in range(4)]
    for number in numbers:
        house.send(letter(f"Fax to {number}"), number)
    for number in numbers:
        assert house.fax(number)["state"] == "delivered"
    tried = "SELECT count(*) FROM outbox WHERE state = 'waiting' AND answer <> ''"
    house.wait(lambda: house.sql(tried) == [(4,)], what="the first tries")
    house.kill()
    clock.set("+24h")
    house.start()
    house.wait(lambda: house.log.read_text().count("not mailed") >= 8, what="tries after a day")
    assert house.sql("SELECT DISTINCT state FROM outbox") == [("waiting",)]
    assert [row["state"] for row in json.loads(house.cli("queue", "--mails", "--json").stdout)] == ["waiting"] * 4
    house.kill()
    house.sink.start()
    clock.set("+25h")
    house.start()
    house.letters(4)
    house.wait(lambda: house.sql("SELECT DISTINCT state FROM outbox") == [("sent",)], what="an empty outbox")
    assert len({one.mail["Message-ID"] for one in house.sink.letters}) == len(house.sink.letters) == 4
    assert [len(house.calls(number)) for number in numbers] == [1] * 4
