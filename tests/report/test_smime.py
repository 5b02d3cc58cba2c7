"""Received faxes that only their reader can open, opened by OpenSSL."""

from __future__ import annotations

import email
import email.policy
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from gateway.report import smime
from gateway.report.compose import Mail
from tests.report.report_values import COMPOSER, OUTBOX, START, inbound

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
PDF = b"%PDF-1.4 a secret page"


def certificate(folder: Path, name: str = "ann", *, days: int = 30, curve: bool = False, encrypts: bool = True) -> Path:
    """A certificate that ends in so many days, beside its key."""
    key = ec.generate_private_key(ec.SECP256R1()) if curve else rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = x509.KeyUsage(
        digital_signature=True, key_encipherment=encrypts, key_cert_sign=False, content_commitment=False,
        data_encipherment=False, key_agreement=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(NOW - timedelta(days=400))
        .not_valid_after(NOW + timedelta(days=days)).add_extension(usage, critical=True).sign(key, hashes.SHA256())
    )  # fmt: skip
    file = folder / f"{name}.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    no_lock = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, no_lock)
    (folder / f"{name}.key").write_bytes(private)
    return file


def opened(mail: bytes, certificate: Path, *, program: str = "cms") -> bytes:
    """What OpenSSL finds inside."""
    command = ["openssl", program, "-decrypt", "-recip", str(certificate), "-inkey", str(certificate.with_suffix(".key"))]
    return subprocess.run(command, input=mail, capture_output=True, timeout=30, check=True).stdout


def composed() -> Mail:
    return COMPOSER.received(
        outbox=OUTBOX, inbound=inbound(), to="ann@corp.example", pdf=PDF, first_page=b"", made_at=START, bounce="b@fax.example"
    )


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("program", ["cms", "smime"])
def test_openssl_opens_it_and_finds_the_mail_as_it_was(tmp_path: Path, program: str) -> None:
    mail, file = composed(), certificate(tmp_path)
    inside = opened(smime.sealed(mail, "fax@fax.example", smime.readers(file, NOW)).content, file, program=program)
    found = email.message_from_bytes(inside, policy=email.policy.default)
    was = email.message_from_bytes(mail.content, policy=email.policy.default)
    names = [name for name in was if name not in ("Content-Type", "MIME-Version")]
    assert {name: str(found[name]) for name in names} == {name: str(was[name]) for name in names}
    assert found.get_content_type() == was.get_content_type() == "multipart/mixed"
    assert found["Content-Type"].params["hp"] == "cipher"
    (pdf,) = [part for part in found.iter_attachments() if part.get_content_type() == "application/pdf"]
    assert pdf.get_content() == PDF


def test_outside_nothing_is_said_but_that_a_fax_was_received(tmp_path: Path) -> None:
    sealed = smime.sealed(composed(), "fax@fax.example", smime.readers(certificate(tmp_path), NOW))
    assert (sealed.envelope_from, sealed.to) == ("b@fax.example", ("ann@corp.example",))
    outside = email.message_from_bytes(sealed.content, policy=email.policy.default)
    assert {name: str(value) for name, value in outside.items() if not name.startswith("Content-")} == {
        "From": "Fax <fax@fax.example>",
        "To": "ann@corp.example",
        "Subject": "Fax received",
        "Date": "Mon, 02 Mar 2026 10:00:04 +0100",
        "Message-ID": "<ob_01jnaaaaaaaaaaaaaaaaaaaaaa@fax.example>",
        "Auto-Submitted": "auto-generated",
        "X-Faxgate-Loop": "fax.example",
        "MIME-Version": "1.0",
    }
    assert outside.get_content_type() == "application/pkcs7-mime"
    assert outside["Content-Type"].params["smime-type"] == "enveloped-data"
    for secret in (b"44207946", b"ACME", b"PDF", b"in_01"):
        assert secret not in sealed.content


@pytest.mark.needs("openssl")
def test_what_was_outside_is_said_inside(tmp_path: Path) -> None:
    file = certificate(tmp_path)
    inside = opened(smime.sealed(composed(), "fax@fax.example", smime.readers(file, NOW)).content, file)
    outer = email.message_from_bytes(inside, policy=email.policy.default).get_all("HP-Outer", [])
    assert "Subject: Fax received" in outer
    assert any(one.startswith("From:") and "fax@fax.example" in one for one in outer)


@pytest.mark.needs("openssl")
def test_each_certificate_in_the_file_that_is_in_force_opens_it(tmp_path: Path) -> None:
    new, old, gone = (certificate(tmp_path, name, days=days) for name, days in (("new", 300), ("old", 1), ("gone", -1)))
    both = tmp_path / "both.pem"
    both.write_bytes(b"".join(one.read_bytes() for one in (gone, old, new)))
    sealed = smime.sealed(composed(), "fax@fax.example", smime.readers(both, NOW))
    assert [PDF in b64(opened(sealed.content, one)) for one in (new, old)] == [True, True]
    with pytest.raises(subprocess.CalledProcessError):
        opened(sealed.content, gone)


def b64(inside: bytes) -> bytes:
    found = email.message_from_bytes(inside, policy=email.policy.default)
    return b"".join(part.get_content() for part in found.iter_attachments() if part.get_content_type() == "application/pdf")


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"days": -1}, "expired on 2026-11-21"),
        ({"curve": True}, "not RSA"),
        ({"encrypts": False}, "not for encryption"),
    ],
)
def test_a_certificate_of_no_use_says_why(tmp_path: Path, how: dict[str, int], why: str) -> None:
    file = certificate(tmp_path, **how)  # type: ignore[arg-type]  # one dictionary for several kinds of values
    with pytest.raises(ValueError, match=why):
        smime.readers(file, NOW)


def test_one_that_is_not_in_force_yet_or_none_at_all(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not in force yet"):
        smime.readers(certificate(tmp_path), NOW - timedelta(days=1000))
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(ValueError, match="no certificate in PEM"):
        smime.readers(tmp_path / "empty.pem", NOW)
