"""What HylaFAX says of a job: its states, and why it failed.

Sources: the states are those that hfaxd answers to `JPARM STATE` (sendq(5)); the codes are HylaFAX's own list,
faxd/README.errorcodes, of 6.0.7 and HylaFAX+ alike, with its words where they decide. A code counts once the job has
failed: before that it is the reason of an earlier call. Codes of receiving and of paging stand here because the list has
them; on a fax that we send they say nothing, so `unknown`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gateway.carriers.base import Statuses
from gateway.errors import Outcome
from gateway.fax import AttemptState

_ON_ITS_WAY = (AttemptState.SUBMITTED, None)


def _failed(outcome: Outcome, codes: Iterable[int]) -> dict[str, tuple[AttemptState, Outcome | None]]:
    return {f"E{code:03}": (AttemptState.FAILED, outcome) for code in codes}


#: States, and `E` with three digits for a job that has failed.
STATUSES: Statuses = {
    "SUSPENDED": _ON_ITS_WAY,  # by a person there
    "PENDING": _ON_ITS_WAY,  # for the time to send
    "SLEEPING": _ON_ITS_WAY,  # until the next call
    "BLOCKED": _ON_ITS_WAY,  # another job calls that number
    "READY": _ON_ITS_WAY,  # for a modem
    "ACTIVE": _ON_ITS_WAY,
    "DONE": (AttemptState.DELIVERED, Outcome.DELIVERED),
    # E000-E049: the call
    **_failed(Outcome.UNKNOWN, [0]),  # "Call successful", of a job that failed
    **_failed(Outcome.BUSY, [1]),
    **_failed(Outcome.NOT_A_FAX, [2, 7, 8]),  # no carrier; Phase A failure; a data modem
    **_failed(Outcome.NO_ANSWER, [3, 11]),  # no answer; rings, no answer without CED
    **_failed(Outcome.CARRIER_TROUBLE, [4, 5]),  # our line has no dial tone; our modem refuses the dial string
    **_failed(Outcome.UNKNOWN, [6]),  # "Unknown problem"
    **_failed(Outcome.LINE_TROUBLE, [9, 12, 13]),  # a call came in; ring without handshake; V.34/V.8
    **_failed(Outcome.RECIPIENT_BLOCKED, [10]),  # "Blacklisted by modem"
    # E050-E099: any modem
    **_failed(Outcome.LINE_TROUBLE, [50, 51]),
    **_failed(Outcome.CARRIER_TROUBLE, [52]),  # a file cannot be written
    # E100-E199: Class 1 modems
    **_failed(Outcome.LINE_TROUBLE, range(100, 102)),
    **_failed(Outcome.NOT_A_FAX, [102, 126]),  # T.30 T1 timeout: nobody there speaks fax
    **_failed(Outcome.LINE_TROUBLE, [*range(103, 126), *range(127, 144)]),
    **_failed(Outcome.UNKNOWN, range(144, 148)),  # the page is out, and no answer to EOR or PPS, or one that is none
    **_failed(Outcome.LINE_TROUBLE, [148, 149]),
    **_failed(Outcome.UNKNOWN, range(150, 154)),  # the page is out, and no answer to MPS, EOP, EOM, PPM
    **_failed(Outcome.LINE_TROUBLE, [154, 155]),
    # E200-E299: Class 2 modems
    **_failed(Outcome.CARRIER_TROUBLE, range(200, 209)),  # our modem refuses a setting; nothing was dialled
    **_failed(Outcome.UNKNOWN, [209, 210, 211]),  # no description; unknown hang-up; a proper end
    **_failed(Outcome.LINE_TROUBLE, [212, 213]),
    **_failed(Outcome.CARRIER_TROUBLE, [214]),  # "No loop current": our line
    **_failed(Outcome.NO_ANSWER, [215, 216]),
    **_failed(Outcome.LINE_TROUBLE, [217]),
    **_failed(Outcome.NOT_A_FAX, [218]),  # T.30 T1 timeout
    **_failed(Outcome.LINE_TROUBLE, [*range(219, 229), 231, 232]),
    **_failed(Outcome.DOCUMENT_REFUSED, [229, 230, 233, 234, 235]),  # the modem cannot read the page
    **_failed(Outcome.UNKNOWN, range(236, 244)),  # Phase D: the page is out, its confirmation is lost
    **_failed(Outcome.LINE_TROUBLE, range(244, 267)),
    **_failed(Outcome.LINE_TROUBLE, [280, 281, 282, 283, 284, 287, 288]),
    **_failed(Outcome.UNKNOWN, [285, 286]),  # an answer after the page that nobody knows
    # E300-E399: not T.30
    **_failed(Outcome.UNKNOWN, [301, 304, 309, 310, 313]),  # of receiving; "Unknown status"
    **_failed(Outcome.CARRIER_TROUBLE, [302, 303, 305, 306, 307, 311, 312]),  # the server's own
    **_failed(Outcome.RECIPIENT_BLOCKED, [308]),  # "CALL REJECTED"
    **_failed(Outcome.DOCUMENT_REFUSED, [314, 315, 316, 317, 321, 323]),
    **_failed(Outcome.CARRIER_TROUBLE, [318, 319, 320, 322]),  # files that the server cannot lock, open, make
    **_failed(Outcome.CARRIER_TROUBLE, [324]),
    **_failed(Outcome.GAVE_UP, [325, 333, 334]),  # time, calls, tries are used up: `reason` knows better
    **_failed(Outcome.CARRIER_TROUBLE, [326]),
    **_failed(Outcome.BAD_NUMBER, [327]),  # the dialling rules there cannot read it
    **_failed(Outcome.CARRIER_TROUBLE, [328, 329]),  # no such modem; no work in the job
    **_failed(Outcome.DOCUMENT_REFUSED, [330, 335]),  # page width; too many pages
    **_failed(Outcome.CARRIER_TROUBLE, [331, 332, 336]),
    **_failed(Outcome.UNKNOWN, [337, 338, 339, 342, 343]),  # delays, that end nothing; the call's program died
    **_failed(Outcome.CARRIER_TROUBLE, [340, 341]),  # the server could not begin
    **{f"E{code}": (AttemptState.CANCELLED, Outcome.CANCELLED) for code in (344, 345)},
    **_failed(Outcome.DOCUMENT_REFUSED, [347]),  # "Document is not valid TIFF"; not in the list, seen of 6.0.7
    # E400-E499: page and modem, or page and far end, do not fit
    **_failed(Outcome.DOCUMENT_REFUSED, range(400, 420)),
    # E500-E599: paging
    **_failed(Outcome.UNKNOWN, range(500, 510)),
}

#: How a status begins whose own code only says that calls or time were used up (E325, E333, E334), as in "Busy signal
#: detected; too many attempts to dial": the last call's reason, and its code in the same list.
_LAST: Mapping[str, str] = {
    "busy signal detected": "E001",
    "no carrier detected": "E002",
    "no answer from remote": "E003",
    "no local dialtone": "E004",
    "invalid dialing command": "E005",
    "unknown problem": "E006",
    "carrier established, but phase a failure": "E007",
    "data connection established": "E008",
    "glare - ring detected": "E009",
    "blacklisted by modem": "E010",
    "ringback detected, no answer": "E011",
    "ring detected without successful handshake": "E012",
    "v.34/v.8 handshake incompatibility": "E013",
    "procedure interrupt": "E129",
    "failure to receive silence": "E100",
    "failure to raise v.21 transmission carrier": "E101",
    "rsprec error/got dcn": "E103",
    "rsprec invalid response received": "E104",
    "failure to train modems": "E105",
    "comrec received dcn": "E108",
    "no response to rnr repeated": "E109",
    "comrec invalid response received to rr": "E140",
    "comrec invalid response received to ctc": "E142",
    "comrec invalid response received to eor": "E145",
    "comrec invalid response received to pps": "E146",
    "comrec invalid response received": "E110",
    "remote has no t.4 receiver capability": "E122",
    "comrec error in transmit phase b": "E124",
    "comrec invalid command received": "E125",
    "no receiver protocol": "E126",
    "stop and wait failure": "E127",
    "remote fax disconnected prematurely": "E128",
    "unable to transmit page": "E131",
    "fax protocol error": "E134",
    "dis/dtc received 3 times": "E136",
    "failure to train remote modem": "E137",
    "receiver flow control exceeded timer": "E138",
    "no response to rr repeated": "E139",
    "no response to ctc repeated": "E141",
    "failure to transmit clean ecm image data": "E143",
    "no response to eor repeated": "E144",
    "no response to pps repeated": "E147",
    "unable to establish message carrier": "E148",
    "unspecified transmit phase c error": "E149",
    "no response to mps repeated": "E150",
    "no response to eop repeated": "E151",
    "no response to eom repeated": "E152",
    "no response to ppm repeated": "E153",
    "timeout waiting for phase c carrier drop": "E154",
    "no answer (t.30 t1 timeout)": "E218",
    "dcs sent 3 times without response": "E224",
    "send program terminated abnormally": "E343",
}


def reason(status: str) -> Outcome | None:
    """What the text of a status says of the last call, where its code does not; words that nobody listed, `unknown`. None:
    it says nothing of a call."""
    words = status.lower().lstrip('" ')
    if not words or words.startswith(("kill time", "reject")):
        return None
    code = next((code for start, code in _LAST.items() if words.startswith(start)), "")
    return STATUSES[code][1] if code else Outcome.UNKNOWN
