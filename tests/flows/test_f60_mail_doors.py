"""The mail doors of the running program: each port for its purpose, real mail programs, a later time, a new certificate."""

import json
import re
import signal
import smtplib
import ssl
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.certificate import self_signed
from tests.flows.house import DOMAIN, OWN_LINE, SENDER, House, addresses, as_bytes, fresh, letter
from tests.flows.test_f21_other_programs import ran
from tests.ports import free_port

Find = Callable[[str], str]
LOGIN, PASSWORD = "office@example.com", "correct horse"


class Doors:
    """A house with every mail door open, whose account signs in; this machine is in none of its networks."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.certificate, key = self_signed(house.folder)
        self.submission, self.submissions, self.lmtp = free_port(), free_port(), free_port()
        house.settings["smtp"] |= {
            "submission": [f"127.0.0.1:{self.submission}"],
            "submissions": [f"127.0.0.1:{self.submissions}"],
            "tls_cert": str(self.certificate),
            "tls_key": str(key),
        }
        house.settings["lmtp"] = {"listen": [f"127.0.0.1:{self.lmtp}"]}
        house.settings["account"][0] |= {"networks": ["192.0.2.0/24"], "login": LOGIN, "password": PASSWORD}
        house.start()

    def signed_in(self) -> smtplib.SMTP_SSL:
        client = smtplib.SMTP_SSL("localhost", self.submissions, timeout=30, context=self.trusting())
        client.login(LOGIN, PASSWORD)
        return client

    def trusting(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))

    def later(self, number: str, wish: str) -> bytes:
        """Hand in a mail for a later time; the mail."""
        mail = as_bytes(letter())
        with self.signed_in() as client:
            wishes = {"mail_options": [wish, "RET=HDRS"], "rcpt_options": ["NOTIFY=SUCCESS,FAILURE"]}
            assert client.sendmail(SENDER, addresses(number), mail, **wishes) == {}
        return mail


@pytest.fixture
def doors(house: House) -> Doors:
    return Doors(house)


def test_sub_02_smtplib_hands_in_on_both_submission_ports(doors: Doors) -> None:
    first, second = fresh(), fresh()
    with doors.signed_in() as client:
        assert client.sendmail(SENDER, addresses(first), as_bytes(letter())) == {}
    with smtplib.SMTP("localhost", doors.submission, timeout=30) as client:
        assert client.mail(SENDER)[0] == 503
        client.starttls(context=doors.trusting())
        client.ehlo()
        assert client.mail(SENDER) == (530, b"5.7.0 Sign in first.")
        client.login(LOGIN, PASSWORD)
        assert client.sendmail(SENDER, addresses(second), as_bytes(letter())) == {}
    for number in (first, second):
        assert doors.house.fax(number)["state"] == "delivered"


@pytest.mark.needs("msmtp")
@pytest.mark.parametrize("port", ["submission", "submissions"])
def test_msmtp_hands_in(doors: Doors, program: Find, port: str) -> None:
    number = fresh()
    words = [
        program("msmtp"), "--host=localhost", f"--port={getattr(doors, port)}", "--tls=on", f"--from={SENDER}", "--auth=plain",
        f"--tls-starttls={'on' if port == 'submission' else 'off'}", f"--tls-trust-file={doors.certificate}",
        f"--user={LOGIN}", f"--passwordeval=echo {PASSWORD}", "--dsn-notify=success,failure", "--dsn-return=hdrs",
        f"{number}@{DOMAIN}",
    ]  # fmt: skip
    mail = letter()
    done = subprocess.run(words, input=mail.as_bytes(), capture_output=True, timeout=60, check=False, cwd=doors.house.folder)
    assert done.returncode == 0, done.stderr
    assert doors.house.fax(number)["state"] == "delivered"
    (report,) = doors.house.reports(mail)
    assert b"Action: delivered" in report.content


@pytest.mark.needs("swaks", "SSLeay.pm", "curl")
def test_swaks_and_curl_hand_in_over_tls_from_the_first_octet(doors: Doors, program: Find) -> None:
    first, second = fresh(), fresh()
    sent = ran(
        doors.house, program("swaks"), "--server", f"127.0.0.1:{doors.submissions}", "--tls-on-connect", "--auth", "LOGIN",
        "--auth-user", LOGIN, "--auth-password", PASSWORD, "--from", SENDER, "--to", f"{first[1:]}@{DOMAIN}", "--pipeline",
    )  # fmt: skip
    assert "250 2.0.0 accepted as sub_" in sent.stdout
    file = doors.house.folder / "mail.eml"
    file.write_bytes(as_bytes(letter()))
    ran(
        doors.house, program("curl"), "-sS", f"smtps://localhost:{doors.submissions}", "--cacert", str(doors.certificate),
        "--user", f"{LOGIN}:{PASSWORD}", "--mail-from", SENDER, "--mail-rcpt", f"{second}@{DOMAIN}", "-T", str(file),
    )  # fmt: skip
    for number in (first, second):
        assert doors.house.fax(number)["state"] == "delivered"


@pytest.mark.needs("swaks")
def test_lmt_01_swaks_speaks_lmtp_and_the_address_alone_proves_nothing(doors: Doors, program: Find) -> None:
    words = [program("swaks"), "--protocol", "LMTP", "--server", f"127.0.0.1:{doors.lmtp}", "--from", SENDER]
    taken = ran(doors.house, *words, "--to", f"postmaster@{DOMAIN}")
    assert "250 2.0.0 accepted for the operator" in taken.stdout
    refused = ran(doors.house, *words, "--to", f"{fresh()[1:]}@{DOMAIN}", check=False)
    assert "550 5.7.1 " in refused.stdout
    assert doors.house.calls() == []


def test_sub_11_a_fax_for_later_waits_is_shown_and_can_be_cancelled(doors: Doors) -> None:
    house, number = doors.house, fresh()
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=3)
    doors.later(number, f"HOLDUNTIL={at:%Y-%m-%dT%H:%M:%SZ}")
    house.kill()  # it waits on disk
    house.start()
    (fax,) = json.loads(house.cli("queue", "--json").stdout)
    assert (fax["number"], fax["state"]) == (number, "accepted")
    assert datetime.fromisoformat(fax["due_at"]) == at
    assert f"{at:%H:%M}" in house.cli("show", fax["id"]).stdout
    assert house.calls() == []
    house.cli("cancel", fax["id"])
    assert house.fax(number)["state"] == "cancelled"
    assert house.calls() == []


def test_sub_11_it_is_dialled_when_its_time_has_come_and_the_report_says_so(doors: Doors) -> None:
    number, begun = fresh(), time.time()
    doors.later(number, "HOLDFOR=2")
    assert doors.house.fax(number)["state"] == "delivered"
    assert time.time() - begun > 2
    (report,) = [one for one in doors.house.letters(1) if b"delivery-status" in one.content]
    assert re.search(rb"\nArrival-Date: .*\r?\nFuture-Release-Request: for;2\r?\n", report.content)


def test_sub_11_an_account_may_have_so_many_faxes_waiting(house: House) -> None:
    house.settings["smtp"] = {**house.settings["smtp"], "hold_quota": 1}
    doors = Doors(house)
    doors.later(fresh(), "HOLDFOR=3600")
    with doors.signed_in() as client, pytest.raises(smtplib.SMTPDataError) as refused:
        client.sendmail(SENDER, addresses(fresh()), as_bytes(letter()), mail_options=["HOLDFOR=3600"])
    assert (refused.value.smtp_code, refused.value.smtp_error[:5]) == (552, b"5.2.2")
    assert len(house.faxes()) == 1


def test_a_hangup_brings_the_new_certificate_into_force(doors: Doors) -> None:
    def shown() -> str:
        return ssl.get_server_certificate(("127.0.0.1", doors.submissions))

    old = shown()
    self_signed(doors.house.folder)
    assert doors.house.process is not None
    doors.house.process.send_signal(signal.SIGHUP)
    doors.house.wait(lambda: shown() != old, what="the new certificate")
    assert "a new certificate is in force" in doors.house.log.read_text()
    with doors.signed_in() as client:
        assert client.noop()[0] == 250


def test_sub_05_who_guesses_passwords_has_to_wait(doors: Doors) -> None:
    codes = []
    for _ in range(4):
        with smtplib.SMTP_SSL("localhost", doors.submissions, timeout=30, context=doors.trusting()) as client:
            client.ehlo()
            codes += [client.docmd("AUTH", "PLAIN AHdobwBub3RoaW5n")[0] for _ in range(3)]
    assert codes == [535] * 10 + [454] * 2


def test_log_03_debug_logs_hold_no_password_no_number_and_no_document(house: House, tmp_path: Path) -> None:
    house.settings["log_level"] = "debug"
    doors = Doors(house)
    number = fresh()
    with doors.signed_in() as client:
        client.rcpt("x")
        client.rset()
        client.sendmail(SENDER, addresses(number), as_bytes(letter(subject="Xylophone", text="Zebra crossing\n")))
    assert house.fax(number)["state"] == "delivered"
    written = house.log.read_text()
    assert number[-4:] in written
    for secret in (number[1:], PASSWORD, "AG9mZmljZUBleGFtcGxlLmNvbQBjb3JyZWN0IGhvcnNl", "Xylophone", "Zebra"):
        assert secret not in written


def test_log_01_each_attempt_and_each_fax_has_its_line(house: House) -> None:
    house.start()
    number, mail = fresh("17"), letter()
    house.send(mail, number)
    house.reports(mail)
    (fax,) = house.wait(lambda: records(house, "fax"), what="the line of the fax")
    attempts = records(house, "attempt")
    assert [one["outcome"] for one in attempts] == ["busy", "busy", "delivered"]
    assert {one["id"] for one in [fax, *attempts]} == {house.fax(number)["id"]}
    assert (fax["state"], fax["outcome"], fax["attempts"], fax["pages"], fax["pages_sent"]) == (
        "delivered",
        "delivered",
        3,
        1,
        1,
    )
    assert (fax["sender"], fax["to"], fax["recipients"]) == (SENDER, f"+*******{number[-4:]}", [f"*@{DOMAIN}"])
    assert fax["accepted"] < fax["calls"][0][0] <= fax["calls"][2][1] <= fax["finished"] < fax["reported"]
    assert fax["told"] == "mail"


def test_log_02_a_received_fax_has_its_line(house: House) -> None:
    house.start()
    house.send(letter(), OWN_LINE)
    (line,) = house.wait(lambda: records(house, "received"), what="the line of the received fax")
    assert (line["line"], line["mailbox"], line["pages"]) == (f"+*******{OWN_LINE[-4:]}", "office@example.com", 1)
    assert line["arrived"] <= line["mailed"]
    assert line["complete"] is True


def records(house: House, event: str) -> list[dict[str, Any]]:
    """What the fax log says of this kind."""
    lines = [line.partition("faxgate.fax: ")[2] for line in house.log.read_text().splitlines()]
    return [record for record in (json.loads(line) for line in lines if line) if record["event"] == event]
