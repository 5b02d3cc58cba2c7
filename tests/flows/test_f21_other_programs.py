"""Mail handed in by programs that are not Python's: what an operator tries first."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.certificate import self_signed
from tests.flows.house import DOMAIN, SENDER, House, as_bytes, fresh, letter, pdf

Find = Callable[[str], str]


def ran(house: House, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(words, cwd=house.folder, capture_output=True, text=True, timeout=60, check=False)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def handed_in(house: House, program: str, number: str, *words: str) -> list[str]:
    """The words of one swaks delivery; it takes what begins with + for an option."""
    server = f"127.0.0.1:{house.smtp_port}"
    return [program, "--server", server, "--from", SENDER, "--to", f"{number[1:]}@{DOMAIN}", *words]


@pytest.mark.needs("swaks")
def test_swaks_delivers_a_mail_with_an_attachment(open_house: House, program: Find) -> None:
    contract = open_house.folder / "contract.pdf"
    contract.write_bytes(pdf("the contract", "its second page"))
    number = fresh()
    attached = ["--attach-type", "application/pdf", "--attach-name", "contract.pdf", "--attach", f"@{contract}"]
    done = ran(open_house, *handed_in(open_house, program("swaks"), number, "--body", "Good morning.", *attached))
    assert "250 2.0.0 accepted as sub_" in done.stdout
    fax = open_house.fax(number)
    assert (fax["state"], fax["pages"]) == ("delivered", 3)
    text = " ".join(open_house.pages(fax))
    assert "Good morning." in text
    assert "its second page" in text


@pytest.mark.needs("swaks", "SSLeay.pm")
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_swaks_signs_in_over_starttls(house: House, program: Find, mechanism: str, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    house.settings["smtp"] |= {"tls_cert": str(certificate), "tls_key": str(key)}
    house.settings["account"][0] |= {"networks": ["192.0.2.0/24"], "login": "office@example.com", "password": "s\u00e9same"}
    house.start()
    number = fresh()
    words = handed_in(house, program("swaks"), number, "-tls", "--auth", mechanism, "--auth-user", "office@example.com")
    refused = ran(house, *words, "--auth-password", "wrong", check=False)
    assert "535 5.7.8" in refused.stdout
    assert house.faxes(number) == []
    accepted = ran(house, *words, "--auth-password", "s\u00e9same")
    assert "235 2.7.0 Signed in" in accepted.stdout
    assert house.fax(number)["state"] == "delivered"


@pytest.mark.needs("curl")
def test_curl_delivers_a_file_whose_lines_end_in_lf(open_house: House, program: Find) -> None:
    number, mail = fresh(), letter()
    file = open_house.folder / "mail.eml"
    file.write_bytes(as_bytes(mail).replace(b"\r\n", b"\n"))
    server = f"smtp://127.0.0.1:{open_house.smtp_port}"
    words = [program("curl"), "-sS", server, "--mail-from", SENDER, "--mail-rcpt", f"{number}@{DOMAIN}", "-T", str(file)]
    ran(open_house, *words, "--crlf")
    assert open_house.fax(number)["state"] == "delivered"
    assert ran(open_house, *words, check=False).returncode != 0, "a bare LF is refused (SMT-01)"
