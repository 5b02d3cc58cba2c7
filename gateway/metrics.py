"""What is counted, in Prometheus' words. Every stage counts here; `web.app` shows it at /metrics.

One registry of our own, so that nothing else in the process leaks into it.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()

ACCEPTED = Counter("faxgate_accepted", "Transmissions accepted, by door", ["door"], registry=REGISTRY)
REFUSED = Counter("faxgate_refused", "Recipients and mails refused, by enhanced status code", ["reason"], registry=REGISTRY)
DUPLICATES = Counter("faxgate_duplicates", "Repeated submissions answered with the earlier fax", registry=REGISTRY)
PAGES = Counter("faxgate_pages", "Pages made (out) and received (in)", ["direction"], registry=REGISTRY)
ATTEMPTS = Counter("faxgate_attempts", "Attempts ended, by carrier and outcome", ["carrier", "outcome"], registry=REGISTRY)
RESULTS = Counter("faxgate_results", "Transmissions ended, by final state", ["state"], registry=REGISTRY)
PAUSES = Counter("faxgate_carrier_pauses", "Times a carrier asked us to wait, by carrier", ["carrier"], registry=REGISTRY)
CALLBACKS = Counter(
    "faxgate_callbacks", "Carrier callbacks, by carrier and what became of them", ["carrier", "result"], registry=REGISTRY
)
MAILS = Counter("faxgate_mails", "Mails handed to the smarthost, by kind and result", ["kind", "result"], registry=REGISTRY)
ARRIVALS = Counter("faxgate_received", "Received faxes, by what becomes of them", ["then"], registry=REGISTRY)
ARCHIVED = Counter("faxgate_archived", "Copies of received faxes for the archive, by result", ["result"], registry=REGISTRY)
CALLS = Counter(
    "faxgate_account_callbacks", "Tries of callbacks to accounts, by direction of the fax and result", ["direction", "result"],
    registry=REGISTRY,
)  # fmt: skip
CONVERSION = Histogram(
    "faxgate_conversion_seconds",
    "Time from claim to finished pages",
    registry=REGISTRY,
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
PICKED_UP = Counter(
    "faxgate_imap_mails",
    "Mails in mailboxes that were dealt with, by mailbox and result",
    ["mailbox", "result"],
    registry=REGISTRY,
)
MAILBOXES = Gauge("faxgate_imap_reading", "1: the mailbox is read by this node and can be", ["mailbox"], registry=REGISTRY)
LOOKED = Gauge(
    "faxgate_imap_looked_seconds", "When all of a mailbox was looked at last, Unix time", ["mailbox"], registry=REGISTRY
)
QUEUE = Gauge("faxgate_queue", "Unfinished transmissions, by state", ["state"], registry=REGISTRY)
QUEUE_AGE = Gauge("faxgate_queue_age_seconds", "Age of the oldest unfinished transmission that is not held", registry=REGISTRY)
CONNECTIONS = Gauge("faxgate_smtp_connections", "Open SMTP connections", registry=REGISTRY)
