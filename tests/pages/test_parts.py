"""Which parts of a mail become pages, which do not, and why."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import cms, message
from gateway.errors import BadDocument
from gateway.pages import parts, sniff, tnef
from tests.pages import fax_files as make


def judge(mail: EmailMessage | bytes) -> parts.Judgement:
    return parts.judge(message.parse(mail if isinstance(mail, bytes) else mail.as_bytes()))


def refused(mail: EmailMessage | bytes) -> BadDocument:
    with pytest.raises(BadDocument) as error:
        judge(mail)
    return error.value


def alternative(plain: str, html: str) -> EmailMessage:
    mail = make.mail(plain)
    mail.add_alternative(html, subtype="html")
    return mail


def test_cnt_07_an_alternative_gives_one_rendering() -> None:
    judged = judge(alternative("plain words", "<p>plain <b>words</b></p>"))
    assert [part.kind for part in judged.chosen] == ["text"]
    assert [(entry.content_type, entry.note) for entry in judged.skipped] == [
        ("text/html", "another rendering of the same text")
    ]


@pytest.mark.parametrize("excuse", ["Your mail program cannot show this message.", "See the HTML part."])
def test_cnt_07_html_is_taken_where_the_plain_text_lacks_its_words(excuse: str) -> None:
    judged = judge(alternative(excuse, "<p>Please deliver 500 tablets to room 12 today.</p>"))
    assert [part.kind for part in judged.chosen] == ["html"]


def test_cnt_07_plain_text_is_taken_where_the_html_is_an_empty_frame() -> None:
    mail = alternative("The words of the mail are here.", "<table><tr><td></td></tr></table>")
    judged = parts.judge(message.parse(mail.as_bytes()), layout=True)
    assert [part.kind for part in judged.chosen] == ["text"]


def test_files_in_several_renderings_are_all_printed() -> None:
    mail = (
        b"Content-Type: multipart/alternative; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nwords\n"
        b"--b\nContent-Type: application/pdf; name=x.pdf\n\n" + make.pdf("x") + b"\n--b--\n--a\n"
        b"Content-Type: application/pdf; name=y.pdf\n\n" + make.pdf("y") + b"\n--a--\n"
    )
    assert [part.title for part in judge(mail).chosen] == ["message text", "x.pdf", "y.pdf"]


def test_a_calendar_file_beside_the_text_does_not_take_its_place() -> None:
    mail = (
        b"Content-Type: multipart/alternative; boundary=a\n\n--a\n\nwords\n--a\n"
        b"Content-Type: application/ics; name=invite.ics\n\nBEGIN:VCALENDAR\n--a--\n"
    )
    assert [part.kind for part in judge(mail).chosen] == ["text"]


def beside(content_type: str, picture: bytes, html: str) -> bytes:
    """A mail whose picture stands beside its text, and not in one "related" with it."""
    return (
        b"Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: text/html\n\n" + html.encode() + b"\n--a\n"
        b"Content-Type: " + content_type.encode() + b"; name=p.png\nContent-ID: <p>\nContent-Disposition: inline\n"
        b"Content-Transfer-Encoding: base64\n\n" + base64.encodebytes(picture) + b"--a--\n"
    )


def test_a_logo_beside_the_text_that_shows_it_is_left_out_too() -> None:
    judged = judge(beside("image/png", make.picture(size=(180, 60)), "<p>words <img src='cid:p'>"))
    assert [part.kind for part in judged.chosen] == ["html"]
    assert [entry.note for entry in judged.skipped] == ["a small picture of 180 by 60 pixels, like the logo of a signature"]


@pytest.mark.parametrize("content_type", ["image/png", "application/octet-stream"])
def test_a_picture_beside_the_text_that_shows_it_stays_in_it(content_type: str) -> None:
    mail = message.parse(beside(content_type, make.picture(size=(900, 700)), "<table><tr><td>words <img src='cid:p'></table>"))
    judged = parts.judge(mail, layout=True)
    assert [(part.kind, len(part.pictures)) for part in judged.chosen] == [("html", 1)]
    assert [entry.note for entry in judged.skipped] == ["shown in the message"]


def test_a_form_that_a_sender_faxes_to_many_is_no_logo() -> None:
    form = make.picture(size=(800, 1000))
    mail = message.parse(beside("image/png", form, "<p>words <img src='cid:p'>"))
    judged = parts.judge(mail, familiar=frozenset({parts.digest(form)}))
    assert [part.kind for part in judged.chosen] == ["html", "png"]


def test_what_programs_add_by_themselves_is_explained_and_refuses_nothing() -> None:
    mail = make.mail("words", ("application/pdf", make.pdf("x"), "x.pdf"), ("text/plain", b"\r\n", "ATT00001.txt"))
    mail.add_attachment(b"\x00\x05\x16\x07", "application", "applefile", filename="x.pdf")
    judged = judge(mail)
    assert [part.kind for part in judged.chosen] == ["text", "pdf"]
    assert [entry.note for entry in judged.skipped] == ["empty", "what a Mac knows about the file beside it, not a document"]


def test_cnt_07_html_is_taken_where_the_plain_text_is_empty() -> None:
    assert [part.kind for part in judge(alternative(" \n", "<p>words</p>")).chosen] == ["html"]


def test_files_inside_one_rendering_are_not_lost() -> None:
    mail = (
        b"Content-Type: multipart/alternative; boundary=a\n\n--a\n\nplain\n--a\nContent-Type: multipart/mixed; boundary=b\n\n"
        b"--b\nContent-Type: text/html\n\n<p>rich</p>\n--b\nContent-Type: application/pdf; name=x.pdf\n"
        b"Content-Disposition: inline; filename=x.pdf\n\n" + make.pdf("x") + b"\n--b--\n--a--\n"
    )
    assert [part.kind for part in judge(mail).chosen] == ["html", "pdf"]


def test_a_picture_shown_only_by_the_html_rendering_is_printed_but_a_tracking_pixel_is_not() -> None:
    mail = alternative("see the picture", "<img src=cid:a><img src=cid:b>")
    html = mail.get_payload(1)
    assert isinstance(html, EmailMessage)
    html.add_related(make.picture(), "image", "png", cid="<a>")
    html.add_related(make.picture("GIF", (1, 1)), "image", "gif", cid="<b>")
    judged = judge(mail)
    assert [part.kind for part in judged.chosen] == ["text", "png"]
    assert any("1 by 1 pixels" in entry.note for entry in judged.skipped)


@pytest.mark.parametrize(
    "content_type", ["application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-signature"]
)
def test_cnt_08_a_signature_is_no_content_and_is_named_in_the_manifest(content_type: str) -> None:
    judged = judge(make.mail("Hello", (content_type, b"\x30\x80\x00", "smime.p7s")))
    assert len(judged.chosen) == 1
    assert judged.skipped[0].note == "a signature, not content"


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Type: multipart/encrypted; protocol=application/pgp-encrypted; boundary=a",
        b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m",
        b"Content-Type: application/x-pkcs7-mime; name=smime.p7m",
    ],
)
def test_cnt_09_encrypted_mail_is_refused(head: bytes) -> None:
    error = refused(head + b"\n\n--a\nContent-Type: application/pgp-encrypted\n\nVersion: 1\n--a--\n")
    assert (error.reply, "encrypted" in error.text) == ("554 5.7.5", True)


def test_cnt_09_ciphertext_in_the_text_is_refused() -> None:
    assert refused(make.mail("-----BEGIN PGP MESSAGE-----\n\nhQEMA\n-----END PGP MESSAGE-----")).reply == "554 5.7.5"


@pytest.mark.parametrize("kind", ['message/external-body; access-type=URL; URL="http://x.example/"', "message/partial; id=1"])
def test_cnt_11_bodies_that_are_elsewhere_are_refused(kind: str) -> None:
    inner = f"Content-Type: {kind}\n\nContent-Type: text/plain\n\n"
    mail = f"Content-Type: multipart/mixed; boundary=a\n\n--a\n\nHello\n--a\n{inner}--a--\n"
    error = refused(mail.encode())
    assert error.reply == "554 5.6.1"
    assert kind.split(";")[0] in error.text


@pytest.mark.parametrize(
    ("content_type", "content", "name"),
    [
        ("application/pdf", make.zipped(), "offer.pdf"),
        ("text/plain", make.zipped(), "offer.pdf"),
        ("text/plain", make.pdf("x"), "offer.txt"),
        ("text/html", make.pdf("x"), "offer.html"),
        ("image/png", make.pdf("x"), "offer.png"),
        ("image/jpeg", b"<script>alert(1)</script>", "offer.jpg"),
        ("application/octet-stream", make.zipped(), "offer.pdf"),
        ("application/octet-stream", make.pdf("x"), "offer.jpg"),
        ("application/octet-stream", b"just words", "offer.exe"),
        ("application/zip", make.pdf("x"), "offer.zip"),
        ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", make.zipped(), "offer.docx"),
        ("application/msword", b"just words", "offer.doc"),
        ("application/ms-tnef", make.zipped(), "winmail.dat"),
        ("application/octet-stream", make.zipped(), "offer.docx"),
        ("application/x-foo", b"foo", "offer.foo"),
        ("text/rtf", b"{\\html x}", "offer.rtf"),
    ],
)
def test_cnt_13_type_name_and_bytes_must_agree(content_type: str, content: bytes, name: str) -> None:
    mail = make.mail("Hello", ("application/x", content, name)).as_bytes().replace(b"application/x", content_type.encode())
    error = refused(mail)
    assert (error.reply, error.part) == ("554 5.6.1", name)
    assert name in error.text


@pytest.mark.parametrize(
    ("content", "name", "kind"),
    [
        (make.pdf("x"), "offer.pdf", "pdf"),
        (make.pdf("x"), "offer", "pdf"),
        (make.picture("JPEG"), "scan.JPG", "jpeg"),
        (b"words", "notes.txt", "text"),
        (b"<html><p>words", "page.html", "html"),
        (make.tiff(make.fax_page(100)), "fax.tif", "tiff"),
    ],
)
def test_a_file_of_no_declared_type_is_judged_by_content_and_name(content: bytes, name: str, kind: str) -> None:
    judged = judge(make.mail("Hello", ("application/octet-stream", content, name)))
    assert [part.kind for part in judged.chosen] == ["text", kind]


def test_cnt_21_an_attached_mail_is_printed_with_its_headers_and_parts() -> None:
    inner = make.mail("inner words", ("application/pdf", make.pdf("x"), "x.pdf"))
    outer = make.mail("see below")
    outer.add_attachment(inner)
    judged = judge(outer)
    assert [(part.position, part.kind) for part in judged.chosen] == [("1", "text"), ("2/1", "text"), ("2/2", "pdf")]
    assert "Subject: Grüße" in judged.chosen[1].preface
    assert [part.is_body for part in judged.chosen] == [True, False, False]


def test_cnt_21_an_attached_mail_without_text_is_not_dropped() -> None:
    judged = judge(b"Content-Type: message/rfc822\n\nFrom: a@b.example\nSubject: nothing else\n\n")
    assert [part.content.decode().splitlines()[-1] for part in judged.chosen] == ["Subject: nothing else"] or [
        "nothing else" in part.content.decode() for part in judged.chosen
    ] == [True]


def test_mails_within_mails_end_somewhere() -> None:
    error = refused(b"Content-Type: message/rfc822\n\n" * 30 + b"\nHello")
    assert error.reply == "554 5.6.1"


def test_parts_nested_too_deeply_are_refused_with_words() -> None:
    mail = b""
    for n in range(400):
        mail += b'Content-Type: multipart/mixed; boundary="b%d"\n\n--b%d\n' % (n, n)
    error = refused(mail + b"\nhello\n")
    assert "nested too deeply" in error.text


def test_a_multipart_without_its_boundary_is_refused_not_faxed_blank() -> None:
    error = refused(b"Content-Type: multipart/mixed; boundary=a\n\nall of the text\n")
    assert error.reply == "554 5.6.0"


def test_an_empty_attachment_is_refused_with_its_name() -> None:
    assert refused(make.mail("Hello", ("application/pdf", b"", "empty.pdf"))).part == "empty.pdf"


def test_every_leaf_is_chosen_or_explained() -> None:
    mail = alternative("plain", "<p>rich</p>")
    mail.add_attachment(make.pdf("x"), maintype="application", subtype="pdf", filename="x.pdf")
    mail.add_attachment(b"\x30\x80", maintype="application", subtype="pkcs7-signature", filename="smime.p7s")
    judged = judge(mail)
    leaves = [part for part in message.parse(mail.as_bytes()).root.walk() if not part.children]
    assert len(judged.chosen) + len(judged.skipped) == len(leaves) == 4


@pytest.mark.parametrize(
    "text", [b"GIF89a is a picture format", b"MZ is how programs begin", b"%PDF- begins a PDF? no: see", b"BM", b"%"]
)
def test_a_text_that_begins_like_something_else_is_still_a_text(text: bytes) -> None:
    assert sniff.kind(b"About: " + text) == "text"
    if not text.startswith(b"%PDF"):
        assert sniff.kind(text) == "text"


def test_text_of_two_bytes_a_character_is_text_without_a_mark_too() -> None:
    content = base64.encodebytes("Straße in zwei Bytes".encode("utf-16-le"))
    head = b"Content-Type: text/plain; charset=utf-16le\nContent-Transfer-Encoding: base64\n\n"
    assert [part.kind for part in judge(head + content).chosen] == ["text"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/pdf; name=x.pdf"])
def test_a_part_whose_end_is_missing_is_refused_not_faxed_as_letters(content_type: str) -> None:
    content = base64.b64encode(make.pdf("x"))
    whole = content[: len(content) // 4 * 4 - 4]
    head = f"Content-Type: {content_type}\nContent-Transfer-Encoding: base64\n\n".encode()
    error = refused(head + whole[:-3])
    assert (error.reply, error.text.partition(" is ")[2]) == (parts.BROKEN, "broken: its end is missing")


@pytest.mark.parametrize(("content_type", "name"), [("image/jxl", "IMG_1.jxl"), ("image/x-photo", "logo.photo")])
def test_cnt_05_a_picture_of_a_kind_we_cannot_print_is_not_called_a_lie(content_type: str, name: str) -> None:
    error = refused(make.mail("see", (content_type, b"\xff\x0a\x00\x00\x00\x00", name)))
    assert (error.reply, error.text) == (parts.UNSUPPORTED, f"{name}: documents of the type {content_type} cannot be faxed")


def test_cnt_16_a_mail_of_very_many_parts_is_refused_not_listed() -> None:
    inner = b"--i\n\nwords\n" + b"--i\n\n\n" * 300 + b"--i--\n"
    attached = b"--o\nContent-Type: message/rfc822\n\nContent-Type: multipart/mixed; boundary=i\n\n" + inner + b"\n"
    assert len(judge(b"Content-Type: multipart/mixed; boundary=o\n\n" + attached * 3 + b"--o--\n").skipped) == 900
    error = refused(b"Content-Type: multipart/mixed; boundary=o\n\n" + attached * 4 + b"--o--\n")
    assert (error.reply, error.text) == (parts.TOO_MUCH, "the mail has more than 1000 parts")


# --- pictures of the text -----------------------------------------------------------------------------------------------


def rich(html: str, *pictures: tuple[str, bytes]) -> EmailMessage:
    """Plain text and HTML with pictures by their Content-ID."""
    mail = alternative("plain words", html)
    part = mail.get_payload(1)
    assert isinstance(part, EmailMessage)
    for name, content in pictures:
        part.add_related(content, "image", "png", cid=f"<{name}>")
    return mail


def laid_out(mail: EmailMessage, *, familiar: frozenset[str] = frozenset()) -> parts.Judgement:
    return parts.judge(message.parse(mail.as_bytes()), layout=True, familiar=familiar)


@pytest.mark.parametrize(
    "html",
    [
        "<table><tr><td>3</table>",
        "not <s>5</s> 6 tablets",
        "<p style='text-decoration: line-through'>5",
        "x<sup>2</sup>",
        "<img src='data:image/png;base64,AAAA'>",
    ],
)
def test_cnt_07_html_that_says_more_than_its_words_is_laid_out_once(html: str) -> None:
    judged = laid_out(alternative("plain words", html))
    assert [(part.kind, part.is_laid_out, part.is_body) for part in judged.chosen] == [("html", True, True)]
    assert [entry.content_type for entry in judged.skipped] == ["text/plain"]


def test_html_of_mere_words_gives_way_to_the_plain_text() -> None:
    judged = laid_out(alternative("marked words here", "<p style='color: red'><b>marked</b> words <a href=x>here</a>"))
    assert [part.kind for part in judged.chosen] == ["text"]


def test_a_picture_that_the_html_shows_stays_in_it_and_is_no_page_of_its_own() -> None:
    judged = laid_out(rich("see <img src='cid:plan%40x'> and <img src=cid:gone>", ("plan@x", make.picture("PNG", (400, 300)))))
    assert [part.kind for part in judged.chosen] == ["html"]
    assert [shown.content_id for shown in judged.chosen[0].pictures] == ["plan@x"]
    assert "shown in the message" in [entry.note for entry in judged.skipped]


def test_a_picture_beside_the_html_that_it_does_not_show_is_a_page_of_its_own() -> None:
    judged = laid_out(rich("<table><tr><td>x</table>", ("scan", make.picture("PNG", (400, 300)))))
    assert [part.kind for part in judged.chosen] == ["html", "png"]


@pytest.mark.parametrize(("size", "printed"), [((300, 100), False), ((32, 32), False), ((150, 150), True), ((900, 400), True)])
def test_the_logo_of_a_signature_is_left_out_by_its_size_and_shape(size: tuple[int, int], printed: bool) -> None:
    judged = judge(rich("words <img src=cid:logo>", ("logo", make.picture("PNG", size))))
    assert [part.kind for part in judged.chosen] == (["text", "png"] if printed else ["text"])
    if not printed:
        assert any("like the logo of a signature" in entry.note and entry.loss for entry in judged.skipped)


def test_a_small_picture_that_is_attached_is_no_logo() -> None:
    mail = make.mail("see", ("image/png", make.picture("PNG", (300, 100)), "barcode.png"))
    assert [part.kind for part in judge(mail).chosen] == ["text", "png"]


def test_a_picture_of_most_mails_of_a_sender_is_left_out() -> None:
    banner = make.picture("PNG", (900, 400))
    judged = laid_out(rich("words <img src=cid:banner>", ("banner", banner)), familiar=frozenset({parts.digest(banner)}))
    assert [part.kind for part in judged.chosen] == ["text"]
    assert any("most mails of this sender" in entry.note for entry in judged.skipped)


def test_many_renderings_of_a_text_make_one_line_in_the_manifest() -> None:
    mail = alternative("plain", "<p>plain</p>")
    mail.add_alternative("x", subtype="x-watch-html")
    mail.add_alternative("BEGIN:VCALENDAR", subtype="calendar")
    judged = judge(mail)
    assert [entry.note for entry in judged.skipped] == ["another rendering of the same text (3 of them)"]
    assert [part.content_type for part in judged.chosen] == ["text/plain"]


def test_the_same_file_twice_is_printed_once_and_said() -> None:
    judged = judge(make.mail("see", ("application/pdf", make.pdf("x"), "a.pdf"), ("application/pdf", make.pdf("x"), "b.pdf")))
    assert [part.title for part in judged.chosen[1:]] == ["a.pdf"]
    assert [(entry.title, entry.note) for entry in judged.skipped] == [("b.pdf", "the same file as a.pdf")]


@pytest.mark.parametrize(("content_type", "what"), [("text/calendar", "a calendar entry"), ("text/vcard", "a visiting card")])
def test_cnt_10_a_calendar_entry_or_a_visiting_card_is_left_out_and_named(content_type: str, what: str) -> None:
    judged = judge(make.mail("see", (content_type, b"BEGIN:X\nEND:X\n", "x.ics")))
    assert len(judged.chosen) == 1
    assert [(one.title, one.note, one.loss) for one in judged.skipped] == [("x.ics", f"{what}, not a document", True)]


# --- files in files -----------------------------------------------------------------------------------------------------


def test_an_archive_of_documents_is_opened_and_its_clutter_left_alone() -> None:
    archive = make.zipped(
        {"a/offer.pdf": make.pdf("x"), "__MACOSX/a/._offer.pdf": b"x", "notes.txt": b"words", "a/.DS_Store": b"x", "a/": b""}
    )
    judged = judge(make.mail("see", ("application/zip", archive, "all.zip")))
    assert [(part.position, part.title, part.kind) for part in judged.chosen[1:]] == [
        ("2/1", "all.zip: a/offer.pdf", "pdf"),
        ("2/2", "all.zip: notes.txt", "text"),
    ]


def test_cnt_01_a_program_in_an_archive_fails_the_whole_fax_with_its_name() -> None:
    archive = make.zipped({"a.txt": b"words", "setup.exe": b"MZ\x00\x00"})
    error = refused(make.mail("see", ("application/zip", archive, "all.zip")))
    assert (error.reply, error.part) == ("554 5.6.1", "all.zip: setup.exe")


def test_a_mail_saved_as_a_file_is_printed_like_an_attached_one() -> None:
    inner = make.mail("inner words").as_bytes()
    judged = judge(make.mail("see", ("application/octet-stream", inner, "old.eml")))
    assert [(part.position, part.kind) for part in judged.chosen] == [("1", "text"), ("2/1", "text")]
    assert "Subject: Grüße" in judged.chosen[1].preface
    assert not judged.chosen[1].is_body


def test_archives_in_archives_end_somewhere() -> None:
    archive = make.zipped({"a.txt": b"words"})
    for n in range(7):
        archive = make.zipped({f"{n}.zip": archive})
    assert refused(make.mail("see", ("application/zip", archive, "all.zip"))).reply == "554 5.3.4"


@pytest.mark.parametrize("content", [make.zipped({}), make.zipped({"a/": b""})])
def test_an_empty_archive_is_refused(content: bytes) -> None:
    error = refused(make.mail("see", ("application/zip", content, "all.zip")))
    assert (error.reply, error.text) == ("554 5.6.5", "all.zip is empty")


def test_winmail_gives_its_files_and_its_words_only_where_the_mail_has_none() -> None:
    wrapped = make.winmail("wrapped words", ("offer.pdf", make.pdf("x")), ("Plan für März.txt", b"notes"))
    judged = judge(make.mail("the same words", ("application/ms-tnef", wrapped, "winmail.dat")))
    assert [(part.title, part.kind, part.is_body) for part in judged.chosen] == [
        ("message text", "text", True),
        ("winmail.dat: offer.pdf", "pdf", False),
        ("winmail.dat: Plan für März.txt", "text", False),
    ]
    alone = b"Content-Type: application/ms-tnef; name=winmail.dat\nContent-Transfer-Encoding: base64\n\n" + base64.encodebytes(
        wrapped
    )
    judged = judge(alone)
    assert [(part.kind, part.is_body) for part in judged.chosen] == [("text", True), ("pdf", False), ("text", False)]
    assert judged.chosen[0].content == b"wrapped words"


def test_a_winmail_in_an_attached_mail_keeps_its_words() -> None:
    inner = b"Subject: inner\nContent-Type: application/ms-tnef; name=winmail.dat\nContent-Transfer-Encoding: base64\n\n"
    inner += base64.encodebytes(make.winmail("wrapped words", ("a.pdf", make.pdf("x"))))
    judged = judge(make.mail("see the mail", ("application/octet-stream", inner, "old.eml")))
    assert [part.content for part in judged.chosen if b"wrapped" in part.content] == [b"wrapped words"]


def test_a_winmail_with_nothing_but_the_message_is_explained() -> None:
    judged = judge(make.mail("the same words", ("application/ms-tnef", make.winmail("words"), "winmail.dat")))
    assert [entry.note for entry in judged.skipped] == ["Outlook's wrapping of the same message"]


def test_compressed_rtf_is_unpacked_as_its_specification_shows() -> None:
    # MS-OXRTFCP section 3.2.1
    packed = bytes.fromhex(
        "2d0000002b0000004c5a4675f1c5c7a703000a00726370673132354232 0af32068656c09002062770 5b06c647d0a800fa0".replace(" ", "")
    )
    assert tnef.plain_rtf(packed) == b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_wrappings_and_archives_give_files_or_a_refusal(data: st.DataObject) -> None:
    name, whole = data.draw(st.sampled_from(_WRAPPED))
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BadDocument):
        assert parts.document(bytes(content), "application/octet-stream", name).chosen


_WRAPPED = (
    ("winmail.dat", make.winmail("words", ("a.txt", b"words"))),
    ("all.zip", make.zipped({"a.txt": b"words", "b.txt": b"more " * 100})),
    ("old.eml", make.mail("words", ("application/zip", make.zipped(), "a.zip")).as_bytes()),
)


ENTITY = (
    b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    b"Gr\xc3\xbc\xc3\x9fe\r\n"
    b"--a\r\nContent-Type: application/pdf; name=x.pdf\r\n\r\n" + make.pdf("x") + b"\r\n--a--\r\n"
)


def wrapped(der: bytes, kind: str = "signed-data") -> bytes:
    head = f"Subject: x\r\nContent-Type: application/pkcs7-mime; smime-type={kind}; name=smime.p7m\r\n"
    return head.encode() + b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(der).replace(b"\n", b"\r\n")


def in_der() -> bytes:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Ann")])
    day = datetime(2026, 1, 1, tzinfo=UTC)
    unsigned = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    certificate = unsigned.not_valid_before(day).not_valid_after(day + timedelta(days=1)).sign(key, hashes.SHA256())
    builder = pkcs7.PKCS7SignatureBuilder().set_data(ENTITY).add_signer(certificate, key, hashes.SHA256())
    return builder.sign(serialization.Encoding.DER, [pkcs7.PKCS7Options.Binary])


def in_ber() -> bytes:
    """With open lengths and the text in pieces, as a program writes it that does not know its length yet."""

    def opened(tag: int, *inside: bytes) -> bytes:
        return bytes([tag, 0x80]) + b"".join(inside) + b"\0\0"

    pieces = [b"\x04\x82" + len(piece).to_bytes(2) + piece for piece in (ENTITY[:300], ENTITY[300:])]
    data = bytes.fromhex("06092a864886f70d010701")
    content = opened(0x30, data, opened(0xA0, opened(0x24, *pieces)))
    return opened(0x30, cms.SIGNED, opened(0xA0, opened(0x30, b"\x02\x01\x01", b"\x31\x00", content, b"\x31\x00")))


@pytest.mark.parametrize("made", [in_der, in_ber])
def test_cnt_08_a_mail_inside_its_signature_is_taken_out_and_printed(made: Callable[[], bytes]) -> None:
    judged = judge(wrapped(made()))
    assert [part.kind for part in judged.chosen] == ["text", "pdf"]
    assert "Grüße".encode() in judged.chosen[0].content
    assert judged.chosen[0].is_body


@pytest.mark.parametrize(
    "der",
    [
        in_der()[:200],
        in_der()[:-1500],
        in_ber()[:60],
        in_ber().replace(b"\x24\x80", b"\x30\x80"),
        b"\x30\x80" * 1000,
        b"\x30\x84\xff\xff\xff\xff" + cms.SIGNED,
        b"",
        b"\x30",
    ],
)
def test_cnt_01_a_broken_signature_with_the_text_inside_is_refused_by_name(der: bytes) -> None:
    error = refused(wrapped(der))
    assert error.reply.startswith("554 5.6")
    assert "smime.p7m" in error.text


def test_cnt_09_what_is_encrypted_is_refused_whatever_it_says_it_is() -> None:
    assert refused(wrapped(in_der().replace(cms.SIGNED, cms.SIGNED[:-1] + b"\x03"))).reply.startswith("554 5.6")
    assert refused(wrapped(b"\x30\x03\x02\x01\x01", "enveloped-data")).reply == "554 5.7.5"


@given(st.binary(max_size=80))
def test_any_octets_are_read_without_harm(data: bytes) -> None:
    found = cms.signed_content(data)
    assert found is None or found in data or len(found) < len(data)
