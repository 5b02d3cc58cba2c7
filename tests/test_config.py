"""The configuration: what it means when it is right, and which file and key it names when it is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway import config
from gateway.config import Config
from gateway.errors import ConfigError, Outcome

MINIMAL = """
domain = "fax.example.com"
region = "US"
spool = "spool"
[mail]
from = "fax@fax.example.com"
operator = "operator@example.com"
"""
ACCOUNT = '[[account]]\nname = "office"\ncountries = ["US"]\n'
LINE = '[[line]]\nnumber = "+14155550100"\naccount = "office"\ncarrier = "main"\n'
SIGNS_IN = 'login = "{}"\npassword = "x"\n'
SECRET = "correct horse battery staple"


def load(folder: Path, text: str) -> Config:
    file = folder / "gateway.toml"
    file.write_text(text, encoding="utf-8")
    return config.load(file)


def with_top(line: str) -> str:
    return MINIMAL.replace("[mail]", f"{line}\n[mail]")


def test_a_minimal_file_is_enough(tmp_path: Path) -> None:
    found = load(tmp_path, MINIMAL)
    assert found.domain == ("fax.example.com",)
    assert found.host == "fax.example.com"
    assert found.paper == "letter"
    assert found.public_url == "http://127.0.0.1:8025"
    assert list(found.carrier) == ["main"]
    assert found.secret(found.mail) == ""


def test_the_file_of_the_design_is_taken(tmp_path: Path) -> None:
    (tmp_path / "office.password").write_text(f"{SECRET}\n")
    found = load(
        tmp_path,
        MINIMAL
        + '[smtp]\nlisten = ["127.0.0.1:2525", "[::]:25"]\n[http]\nlisten = "/run/http.sock"\n'
        + 'public_url = "https://fax.example.com/"\n'
        + '[[account]]\nname = "office"\nlogin = "office@example.com"\npassword_file = "office.password"\n'
        + 'senders = ["*@example.com"]\nnetworks = ["192.0.2.0/24", "2001:db8::/32"]\ncountries = ["US", "CA"]\n'
        + LINE
        + 'mailbox = ["office@example.com"]\n[carrier.main]\nkind = "loopback"\n'
        + '[retry]\nbusy = ["1m", "2m"]\ngive_up = "4h"\n',
    )
    assert found.public_url == "https://fax.example.com"
    assert found.secret(found.account[0]) == SECRET
    schedule = found.retry.schedule()
    assert schedule.waits[Outcome.BUSY] == (timedelta(minutes=1), timedelta(minutes=2))
    assert schedule.give_up == timedelta(hours=4)
    assert schedule.waits[Outcome.NO_ANSWER] == (timedelta(minutes=5), timedelta(minutes=30))


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("0s", 0), ("90s", 90), ("0.5s", 0.5), ("15m", 900), ("20h", 72_000), ("30d", 2_592_000), ("1y", 31_536_000)],
)
def test_durations(tmp_path: Path, written: str, seconds: float) -> None:
    found = load(tmp_path, MINIMAL + f'[work]\ndrain = "{written}"\n')
    assert found.work.drain == timedelta(seconds=seconds)


@pytest.mark.parametrize("written", ['"90"', '"90 s"', '"-1s"', "90", '""', '"1e3s"', '"٣s"', '"1w"', f'"{"9" * 400}d"'])
def test_a_duration_that_is_none_is_refused(tmp_path: Path, written: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, MINIMAL + f"[work]\ndrain = {written}\n")
    assert caught.value.key == "work.drain"


@pytest.mark.parametrize(
    ("written", "size"), [("65536B", 65536), ("500kB", 500_000), ("40MB", 40_000_000), ("1.5 GB", 1_500_000_000)]
)
def test_sizes(tmp_path: Path, written: str, size: int) -> None:
    assert load(tmp_path, MINIMAL + f'[smtp]\nmax_size = "{written}"\n').smtp.max_size == size


@pytest.mark.parametrize(
    ("text", "key", "problem"),
    [
        ("", "domain", "is missing"),
        (with_top('domian = "x"'), "domian", "did you mean domain?"),
        (MINIMAL + '[smtp]\nlissten = []\n', "smtp.lissten", "did you mean listen?"),
        (MINIMAL + '[mail.x]\ny = 1\n', "mail.x", "unknown key"),
        (MINIMAL + ACCOUNT + "sender = []\n", "account[1].sender", "did you mean senders?"),
        (MINIMAL + '[smpt]\n', "smpt", "did you mean smtp?"),
        (MINIMAL + "[retry]\nbussy = []\n", "retry.bussy", "did you mean busy?"),
        (with_top('file = "x"'), "file", "unknown key"),
        (with_top('domain = ""').replace('domain = "fax.example.com"\n', "", 1), "domain[1]", "not a domain"),
        (MINIMAL.replace('"fax.example.com"', "[]"), "domain", "needs one domain"),
        (MINIMAL.replace('"fax.example.com"', '"fäx.example.com"'), "domain[1]", "ASCII"),
        (MINIMAL.replace('"US"', '"us"'), "region", "is not a country code"),
        (MINIMAL.replace('"US"', '""'), "region", "must not be empty"),
        (with_top('zone = "Mars/Olympus"'), "zone", "not a time zone"),
        (MINIMAL.replace("operator@example.com", "operator"), "mail.operator", "not a mail address"),
        (MINIMAL + 'smarthost = "mail.example.com"\n', "mail.smarthost", "smtp://127.0.0.1:25"),
        (MINIMAL + 'smarthost = ""\n', "mail.smarthost", "must not be empty"),
        (MINIMAL + '[smtp]\nlisten = [""]\n', "smtp.listen[1]", "must not be empty"),
        (MINIMAL + '[smtp]\nlisten = ["25"]\n', "smtp.listen[1]", "127.0.0.1:2525"),
        (MINIMAL + '[smtp]\nlisten = ["127.0.0.1:70000"]\n', "smtp.listen[1]", "127.0.0.1:2525"),
        (MINIMAL + '[smtp]\nlisten = []\n', "smtp.listen", "at least one address"),
        (MINIMAL + '[smtp]\nsubmission = ["[::]:587"]\n', "smtp", "need tls_cert"),
        (MINIMAL + '[smtp]\nproxied = ["127.0.0.1:2525"]\n', "smtp", "belong together"),
        (MINIMAL + '[smtp]\nproxied = ["[::]:25"]\nproxies = ["192.0.2.1"]\n', "smtp", "not listened on"),
        (MINIMAL + '[smtp]\nproxies = ["192.0.2.1/24"]\n', "smtp.proxies", "host bits"),
        (MINIMAL + '[smtp]\nhold = "2y"\n', "smtp", "less than"),
        (MINIMAL + '[lmtp]\nlisten = ["127.0.0.1:25"]\n', "lmtp.listen", "port 25 (LMT-05)"),
        (MINIMAL + '[lmtp]\nlisten = ["0.0.0.0:24"]\n', "lmtp.listen", "this machine alone"),
        (MINIMAL + '[smtp]\ntls_cert = "x"\n', "smtp", "belong together"),
        (MINIMAL + '[smtp]\nmax_size = "1kB"\n', "smtp", "at least 64 KiB"),
        (MINIMAL + '[smtp]\nmax_size = 50\n', "smtp.max_size", "500kB"),
        (MINIMAL + '[smtp]\nmax_recipients = 5\n', "smtp.max_recipients", "100"),
        (MINIMAL + '[http]\npublic_url = "fax.example.com"\n', "http.public_url", "https://"),
        (MINIMAL + ACCOUNT + ACCOUNT, "account[2].name", "two accounts"),
        (MINIMAL + ACCOUNT + 'login = "a"\n', "account[1].password_file", "is missing"),
        (
            MINIMAL + ACCOUNT + SIGNS_IN.format("a") + ACCOUNT.replace("office", "b") + SIGNS_IN.format("A"),
            "account[2].login", "two accounts",
        ),
        (MINIMAL + ACCOUNT.replace('"US"', '"USA"'), "account[1].countries", "not a country"),
        (MINIMAL + ACCOUNT.replace('["US"]', "[]"), "account[1].countries", "must not be empty"),
        (MINIMAL + ACCOUNT.replace('countries = ["US"]\n', ""), "account[1].countries", "is missing"),
        (MINIMAL + ACCOUNT + 'networks = ["192.0.2.1/24"]\n', "account[1].networks", "host bits"),
        (MINIMAL + ACCOUNT + 'senders = [""]\n', "account[1].senders[1]", "must not be empty"),
        (MINIMAL + LINE, "line[1].account", 'no account "office"'),
        (MINIMAL + ACCOUNT + LINE.replace('"main"', '"other"'), "line[1].carrier", "no [carrier.other]"),
        (MINIMAL + ACCOUNT + LINE.replace("+1", "1"), "line[1].number", "country code"),
        (MINIMAL + ACCOUNT + LINE + LINE, "line", "same number"),
        (MINIMAL + '[carrier."a b"]\nkind = "loopback"\n', "carrier.a b", "letters, digits"),
        (MINIMAL + "[carrier.main]\n", "carrier.main.kind", "is missing"),
        (MINIMAL + "[carrier]\n", "carrier", "at least one"),
        (MINIMAL.replace("operator@example.com", "x@fax.example.com"), "mail.operator", "domain that is faxed"),
        (MINIMAL + 'password_file = "nowhere"\n', "mail.password_file", "cannot be read (No such file or directory)"),
        (MINIMAL + 'password = "x"\npassword_file = "nowhere"\n', "mail.password", "not both"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_file_and_key(tmp_path: Path, text: str, key: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert caught.value.file == str(tmp_path / "gateway.toml")
    assert caught.value.key == key
    assert problem in caught.value.problem
    assert "\n" not in caught.value.text


@pytest.mark.parametrize(
    ("content", "problem"), [(b"domain = ", "is not TOML"), (b"\xff\xfe", "is not UTF-8"), (None, "cannot be read")]
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, content: bytes | None, problem: str) -> None:
    if content is not None:
        (tmp_path / "gateway.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=problem):
        config.load(tmp_path / "gateway.toml")


@pytest.mark.parametrize(("content", "problem"), [(b"", "is empty"), (b" \n", "is empty"), (b"\xff", "it is not text")])
def test_a_secret_file_without_a_secret_stops_the_start(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "secret").write_bytes(content)
    with pytest.raises(ConfigError, match=problem):
        load(tmp_path, MINIMAL + 'password_file = "secret"\n')


def test_a_secret_may_be_a_credential_of_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "smarthost").write_text(SECRET)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    found = load(tmp_path, MINIMAL + 'password_file = "$CREDENTIALS_DIRECTORY/smarthost"\n')
    assert found.secret(found.mail) == SECRET


def secrets(folder: Path) -> Config:
    return load(
        folder,
        with_top(f'database = "postgresql://faxgate:{SECRET.split()[0]}@db/faxgate"')
        + f'password = "{SECRET}"\n{ACCOUNT}login = "a"\npassword = "{SECRET}"\n'
        + f'[carrier.main]\nkind = "loopback"\nsecret = "{SECRET}"\n',
    )


def test_secrets_are_in_no_repr(tmp_path: Path) -> None:
    found = secrets(tmp_path)
    assert SECRET.split()[0] not in repr(found)
    assert found.database == "postgresql://faxgate:correct@db/faxgate"
    assert found.secret(found.mail) == SECRET


def test_secrets_are_not_in_what_is_shown(tmp_path: Path) -> None:
    found = secrets(tmp_path)
    shown: Mapping[str, Any] = found.model_dump(mode="json", by_alias=True, exclude={"carrier"})
    assert SECRET.split()[0] not in json.dumps(shown)
    assert shown["database"] == "postgresql://faxgate:********@db/faxgate"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://faxgate@db/faxgate", "postgresql://faxgate@db/faxgate"),
        ("postgresql://u:p:q%40@db/x", "postgresql://u:********@db/x"),
        ("postgresql:///x?host=/run&password=p&user=u", "postgresql:///x?host=/run&password=********&user=u"),
        ("", ""),
    ],
)
def test_a_database_url_is_shown_without_its_password(tmp_path: Path, url: str, shown: str) -> None:
    found = load(tmp_path, with_top(f'database = "{url}"'))
    assert found.model_dump()["database"] == shown


def test_a_wrong_value_is_not_repeated_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, MINIMAL + f'password = ["{SECRET}"]\n')
    assert caught.value.key == "mail.password"
    assert SECRET not in caught.value.text


def test_nothing_can_be_changed_after_loading(tmp_path: Path) -> None:
    found = load(tmp_path, MINIMAL)
    with pytest.raises(ValueError, match="frozen"):
        found.region = "DE"


@pytest.mark.parametrize(("written", "hours"), [("1h", 1), ("7d", 168)])
def test_how_long_a_repeated_mail_is_known_is_a_setting(tmp_path: Path, written: str, hours: int) -> None:
    assert load(tmp_path, with_top(f'duplicates = "{written}"')).duplicates == timedelta(hours=hours)


@pytest.mark.parametrize("lines", ['duplicates = "10m"', 'duplicates = "61d"', 'duplicates = "40d"\nkeep_records = "30d"'])
def test_and_neither_too_short_nor_longer_than_the_records(tmp_path: Path, lines: str) -> None:
    with pytest.raises(ConfigError, match="duplicates"):
        load(tmp_path, with_top(lines))
