"""Our own DKIM signatures, verified by what verifies mail here, by dkimpy, and by OpenDKIM."""

from __future__ import annotations

import base64
import os
import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from gateway.intake import signatures
from gateway.intake.resolver import Resolver
from gateway.report.signing import Key, Signature, read_key, record
from gateway.sections import Dns
from tests.nameserver import NameServer
from tests.report.report_values import COMPOSER, OUTBOX, START, inbound

AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
PDF = b"%PDF-1.4 a page"


def pem(key: Key) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


KEYS: dict[str, Callable[[], Key]] = {
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


@pytest.fixture(params=KEYS)
def signature(request: pytest.FixtureRequest, tmp_path: Path) -> Signature:
    file = tmp_path / "dkim.pem"
    file.write_bytes(pem(KEYS[request.param]()))
    return Signature("fax.example", "s1", file)


def mail() -> bytes:
    return COMPOSER.received(
        outbox=OUTBOX, inbound=inbound(), to="office@corp.example", pdf=PDF, first_page=b"", made_at=START
    ).content


@pytest.mark.parametrize(
    "content", [mail(), b"From: a@fax.example\r\nSubject:  x \t y\r\n z\r\n\r\n", b"From: a@b.c\r\n\r\nx\r\n\r\n\r\n"]
)
def test_onr_08_dkimpy_verifies_it(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "dkim.pem"
    file.write_bytes(pem(KEYS["rsa"]()))
    signature = Signature("fax.example", "s1", file)
    signed = signature.sign(content, AT)
    assert signed.endswith(content)
    assert dkim.verify(signed, dnsfunc=lambda name, timeout=0: signature.record.encode())


def test_what_verifies_mail_here_believes_it(tmp_path: Path) -> None:
    file = tmp_path / "dkim.pem"
    file.write_bytes(pem(KEYS["rsa"]()))
    signature, server = Signature("fax.example", "s1", file), NameServer()
    try:
        server.txt(signature.name, signature.record)
        resolver = Resolver(Dns.model_validate({"servers": [f"127.0.0.1:{server.port}"]}))
        (result,) = signatures.verify(signature.sign(mail(), AT), lambda domain: domain == "fax.example", resolver.lookups())
    finally:
        server.close()
    assert result.passed


@pytest.mark.needs("opendkim")
def test_opendkim_verifies_it(signature: Signature, tmp_path: Path) -> None:
    signed = signature.sign(mail(), AT)
    assert "succeeded" in opendkim(signed, signature, tmp_path)
    assert "failed" in opendkim(signed.replace(b"Subject: Fax", b"Subject: Tax"), signature, tmp_path)


def opendkim(signed: bytes, signature: Signature, folder: Path) -> str:
    """What OpenDKIM says of a mail, with the public key from a file."""
    (folder / "keys").write_text(f"{signature.name} {signature.record}\n")
    (folder / "conf").write_text(f"TestPublicKeys {folder / 'keys'}\nMode v\n")
    (folder / "mail.eml").write_bytes(signed)
    command = ["opendkim", "-x", str(folder / "conf"), "-v", "-t", str(folder / "mail.eml")]
    environment = {"PATH": f"/usr/sbin:{os.environ['PATH']}"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=environment)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "field", ["From: eve@evil.example", "Subject: Pay at once", "Reply-To: eve@evil.example", "Cc: e@x.example"]
)
def test_no_field_can_be_added_or_changed(tmp_path: Path, field: str) -> None:
    file = tmp_path / "dkim.pem"
    file.write_bytes(pem(KEYS["rsa"]()))
    signature = Signature("fax.example", "s1", file)
    signed = signature.sign(mail(), AT)
    for forged in (field.encode() + b"\r\n" + signed, signed.replace(b"\r\nDate:", b"\r\n" + field.encode() + b"\r\nDate:", 1)):
        assert not dkim.verify(forged, dnsfunc=lambda name, timeout=0: signature.record.encode())


def test_lines_stay_short_and_every_octet_is_ascii(signature: Signature) -> None:
    head = signature.sign(mail(), AT).partition(b"\r\nReceived:")[0]
    assert max(map(len, head.split(b"\r\n"))) <= 78
    assert head.isascii()
    assert b"t=1795348800;" in head


def test_a_new_key_in_the_file_is_used_and_a_broken_one_is_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "dkim.pem"
    file.write_bytes(pem(KEYS["rsa"]()))
    signature = Signature("fax.example", "s1", file)
    old = signature.record
    file.write_bytes(b"half wri")
    assert dkim.verify(signature.sign(mail(), AT), dnsfunc=lambda name, timeout=0: old.encode())
    assert "the old key stays in force" in caplog.text
    file.write_bytes(pem(KEYS["rsa"]()))
    signed, new = signature.sign(mail(), AT), signature.record
    assert new != old
    assert dkim.verify(signed, dnsfunc=lambda name, timeout=0: new.encode())
    assert not dkim.verify(signed, dnsfunc=lambda name, timeout=0: old.encode())


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"no key", "no private key"),
        (pem(rsa.generate_private_key(65537, 1024)).replace(b"MII", b"MIX"), "no private key"),
        (
            rsa.generate_private_key(65537, 1024).private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
            ),
            "locked by a password",
        ),
    ],
)
def test_a_key_that_cannot_be_used_says_why(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(ValueError, match=why):
        read_key(tmp_path / "key")


def test_the_record_is_the_one_of_rfc_8463() -> None:
    """The example of RFC 8463, appendix A.2."""
    seed = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="
    key = ed25519.Ed25519PrivateKey.from_private_bytes(base64.b64decode(seed))
    assert record(key) == "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    assert re.fullmatch(r"[ -~]+", record(key))
