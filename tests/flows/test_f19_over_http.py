"""Health, readiness and metrics of a gateway at work."""

import json
import re

from tests.flows.house import DOMAIN, House, fresh, letter, pdf


def test_it_says_how_it_is(open_house: House) -> None:
    assert open_house.get("/healthz") == (200, "ok")
    status, body = open_house.get("/readyz")
    assert (status, json.loads(body)) == (200, {"ready": True, "checks": {"spool": "ok", "work": "ok"}})
    assert open_house.get("/nothing/here")[0] == 404


def value(metrics: str, name: str, **labels: str) -> float:
    inside = ",".join(f'{key}="{labels[key]}"' for key in sorted(labels))
    found = re.search(rf"^{re.escape(name + ('{' + inside + '}' if inside else ''))} ([0-9.e+-]+)$", metrics, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_it_counts_what_it_does(house: House) -> None:
    house.start()
    mail = letter(files=[("a.pdf", "application/pdf", pdf("one"))])
    good, held = fresh(), fresh("22")
    house.send(mail, good, held, f"12@{DOMAIN}")
    house.send(mail, good)
    house.reports(mail, 2)
    house.letters(3)
    metrics = house.get("/metrics")[1]
    counted = {
        "accepted": value(metrics, "faxgate_accepted_total", door="smtp"),
        "duplicates": value(metrics, "faxgate_duplicates_total"),
        "refused": value(metrics, "faxgate_refused_total", reason="5.1.3"),
        "pages": value(metrics, "faxgate_pages_total", direction="out"),
        "delivered": value(metrics, "faxgate_attempts_total", carrier="main", outcome="delivered"),
        "no credit": value(metrics, "faxgate_attempts_total", carrier="main", outcome="no_credit"),
        "results": value(metrics, "faxgate_results_total", state="delivered"),
        "mails": value(metrics, "faxgate_mails_total", kind="result", result="sent"),
        "alarms": value(metrics, "faxgate_mails_total", kind="alarm", result="sent"),
        "held": value(metrics, "faxgate_queue", state="held"),
        "conversions": value(metrics, "faxgate_conversion_seconds_count"),
        "connections": value(metrics, "faxgate_smtp_connections"),
    }
    assert counted == {
        "accepted": 2,
        "duplicates": 1,
        "refused": 1,
        "pages": 4,
        "delivered": 1,
        "no credit": 1,
        "results": 1,
        "mails": 1,
        "alarms": 1,
        "held": 1,
        "conversions": 2,
        "connections": 0,
    }
    assert good not in metrics
    assert good[1:] not in house.log.read_text()  # numbers are masked
