"""The corpus: pages as people fax them, made from this file alone, with the words and codes that must be read again.

    for page in pages(): page.name, page.kind, page.pdf, page.blocks, page.codes

`pages(HELD_OUT)` is the same pages with other texts, typefaces, sizes, colours, pictures and noise: nothing was tuned on them.
Every page is a PDF of one letter sheet. `blocks` are texts with their places; `codes` what its bar codes say. The same
call gives the same bytes. Kinds: "text", "photo", and "mixed" for everything between (colour, tables, forms, charts,
scans, codes, handwriting).
"""

from __future__ import annotations

import functools
import importlib
import io
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import fontpkg
import reportlab
from reportlab.graphics import renderPDF
from reportlab.graphics.barcode import createBarcodeDrawing
from reportlab.lib.colors import Color, HexColor
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

WIDE, HIGH = 612.0, 792.0  # points: letter
SANS = "CorpusSans"  # embedded; Helvetica, Times and Courier are not, as in many real documents

_SENTENCES = """The shipment left the harbour on Tuesday and should arrive within nine working days.
Please confirm the quantity before we release the order to the warehouse.
All prices are quoted in euros and do not include value added tax.
Our technician will visit the site between eight and eleven in the morning.
Payment is due thirty days after the date of the invoice.
The patient should take one tablet twice a day with a glass of water.
The court has set a new date for the hearing at the request of both parties.
Keep this document with the machine and show it to the inspector on demand.
The insurance covers damage by water, fire and storm but not by neglect.
We regret that the part is no longer available from the original maker.
The meeting opened at ten with twelve members present and two excused.
A copy of the signed agreement has been sent to your office by post.
Return the completed form to the address below before the end of the month.
The measured values stay within the limits that the standard allows.
Delivery to the island takes two days longer because of the ferry.
The tenant agrees to keep the garden in good order throughout the year.
Nothing in this notice changes the rights that you have under the law.
The second floor will be closed while the windows are being replaced.
Ask for the manager if the goods are not as described in the catalogue.
Samples were taken every hour and sealed in the presence of a witness.""".splitlines()

_OTHER_SENTENCES = """The bridge will be closed to lorries over twelve tonnes from Monday morning.
Both copies must be signed in ink and returned in the envelope provided.
Her blood pressure was taken three times before the doctor saw her.
The committee asks for quotations from at least four local builders.
Fresh milk is collected at the farm gate every second evening.
Nobody may enter the tank room without a helmet and a second person.
His lawyer objects to the third question on page five of the record.
We have credited the difference of eighty crowns to your account.
Boxes marked with a red cross should be opened by the pharmacist only.
The roof leaks above the kitchen whenever the wind blows from the west.
Grandfather kept the key of the clock behind the picture of the king.
Any change of address has to be reported within two weeks.
The examiner found no fault in the welding of the upper frame.
Please book six single rooms and one double for the last week of June.
Their violin was valued at forty thousand pounds by an expert in Leeds.
An extra blanket and a lamp can be had from the porter at any hour.
The vessel carries timber, paper and a quantity of frozen fish.
Children under seven travel free when an adult goes with them.
Rain stopped the match before either side had scored a goal.
The engine must be left to cool before the filter is taken out.""".splitlines()


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What differs between two makings of the corpus."""

    seed: int = 0
    sentences: tuple[str, ...] = tuple(_SENTENCES)
    faces: Mapping[str, str] = field(default_factory=dict)
    sizes: tuple[float, float] = (1.0, 1.0)
    """Every size of a page is multiplied by one number between these."""
    shift: float = 0
    """Colours change their hue, and become so much lighter or darker at most."""
    typed: str = "Vera.ttf"
    """What scanned pages are typed in; from reportlab's own."""


USUAL = Look()
HELD_OUT = Look(
    seed=1000,
    sentences=tuple(_OTHER_SENTENCES),
    faces={
        SANS: "Vera",
        "Helvetica": "Times-Roman",
        "Helvetica-Bold": "Times-Bold",
        "Times-Roman": SANS,
        "Times-Bold": "Helvetica-BoldOblique",
        "Courier": "Helvetica-Oblique",
    },
    sizes=(0.97, 1.1),
    shift=12,
    typed="VeraIt.ttf",
)


@dataclass(frozen=True, slots=True)
class Block:
    """A text and its place."""

    words: str
    box: tuple[float, float, float, float]
    """Left, top, right, bottom in points from the upper left corner."""
    sideways: bool = False
    """Turned left by 90 degrees."""


@dataclass(frozen=True, slots=True)
class Page:
    """One sheet."""

    name: str
    kind: str
    pdf: bytes = field(repr=False)
    blocks: tuple[Block, ...]
    codes: tuple[str, ...]


class Sheet:
    """A page that is being drawn; what is written on it is kept as blocks. Lengths in points from the upper left."""

    def __init__(self, seed: int, look: Look = USUAL) -> None:
        self.out = io.BytesIO()
        self.canvas = Canvas(self.out, pagesize=(WIDE, HIGH), invariant=1)
        self.dice = random.Random(seed + look.seed)
        self.look = look
        drift = random.Random(seed + look.seed)  # apart from the dice of the texts
        self._scale, self._shift = drift.uniform(*look.sizes), drift.uniform(-look.shift, look.shift)
        self.blocks: list[Block] = []
        self.codes: list[str] = []
        pdfmetrics.registerFont(TTFont(SANS, str(fontpkg.path("Noto Sans"))))
        pdfmetrics.registerFont(TTFont("Vera", str(Path(reportlab.__file__).parent / "fonts" / "Vera.ttf")))

    def seed(self, number: int) -> int:
        """Of a picture, in this look."""
        return number + self.look.seed

    def face(self, name: str) -> str:
        """A typeface, in this look."""
        return self.look.faces.get(name, name)

    def colour(self, tone: str) -> Color:
        """A colour, in this look: another hue, nearly as light. Black and white stay."""
        given = HexColor(tone)
        if self.look is USUAL or given.rgb() in ((0, 0, 0), (1, 1, 1)):
            return given
        red, green, blue = given.green, given.blue, given.red
        missing = _light(*given.rgb()) - _light(red, green, blue) + self._shift / 255
        return Color(*(min(1.0, max(0.0, part + missing)) for part in (red, green, blue)))

    def line(self, x: float, y: float, words: str, size: float = 11, face: str = SANS, ink: str = "#000000") -> None:
        """One line of text whose foot is at `y`."""
        self._line(x, y, words, size * self._scale, self.face(face), ink)

    def _line(self, x: float, y: float, words: str, size: float, face: str, ink: str) -> None:
        self.canvas.setFont(face, size)
        self.canvas.setFillColor(self.colour(ink))
        self.canvas.drawString(x, HIGH - y, words)
        wide = pdfmetrics.stringWidth(words, face, size)
        self.blocks.append(Block(words, (x - 2, y - size, x + wide + 3, y + size * 0.32)))

    def text(
        self, x: float, y: float, width: float, lines: int, size: float = 11, face: str = SANS, ink: str = "#000000"
    ) -> float:
        """Sentences set into lines; returns where the next line goes."""
        size, face = size * self._scale, self.face(face)
        kept, top, set_lines = len(self.blocks), y, self.lines(width, lines, size, face)
        for words in set_lines:
            self._line(x, y, words, size, face, ink)
            y += size * 1.3
        right = max(block.box[2] for block in self.blocks[kept:])
        self.blocks[kept:] = [Block(" ".join(set_lines), (x - 2, top - size, right, y - size * 0.98))]
        return y

    def sentences(self, width: float, lines: int, size: float, face: str = SANS) -> list[str]:
        """So many full lines."""
        return self.lines(width, lines, size * self._scale, self.face(face))

    def lines(self, width: float, lines: int, size: float, face: str) -> list[str]:
        """The same in just this face and size, whatever the look."""
        out: list[str] = []
        words: list[str] = []
        while len(out) < lines:
            if not words:
                words = self.dice.choice(self.look.sentences).split()
            fitting = [words.pop(0)]
            while words and pdfmetrics.stringWidth(" ".join([*fitting, words[0]]), face, size) <= width:
                fitting.append(words.pop(0))
                if not words and self.dice.random() < 0.9:
                    words = self.dice.choice(self.look.sentences).split()
            out.append(" ".join(fitting))
        return out

    def fill(self, x: float, y: float, width: float, height: float, tone: str, line: str = "", pen: float = 0.5) -> None:
        """A filled rectangle whose upper left corner is at x, y; `line` is the colour of its edge."""
        self.canvas.setFillColor(self.colour(tone))
        if line:
            self.canvas.setStrokeColor(self.colour(line))
            self.canvas.setLineWidth(pen)
        self.canvas.rect(x, HIGH - y - height, width, height, stroke=int(bool(line)), fill=1)

    def rule(self, x: float, y: float, to_x: float, to_y: float, pen: float = 0.25, tone: str = "#000000") -> None:
        self.canvas.setStrokeColor(self.colour(tone))
        self.canvas.setLineWidth(pen)
        self.canvas.line(x, HIGH - y, to_x, HIGH - to_y)

    def gradient(self, x: float, y: float, width: float, height: float, tones: tuple[str, str]) -> None:
        """A rectangle that fades from the first colour at its upper left to the second at its lower right."""
        self.canvas.saveState()
        path = self.canvas.beginPath()
        path.rect(x, HIGH - y - height, width, height)
        self.canvas.clipPath(path, stroke=0)
        self.canvas.linearGradient(x, HIGH - y, x + width, HIGH - y - height, [self.colour(tone) for tone in tones])
        self.canvas.restoreState()

    def picture(self, x: float, y: float, width: float, height: float, file: io.BytesIO) -> None:
        self.canvas.drawImage(ImageReader(file), x, HIGH - y - height, width, height)

    def code(self, kind: str, x: float, y: float, value: str, **how: float | bool) -> None:
        """A bar code whose upper left corner is at x, y."""
        if self.look is not USUAL and kind != "EAN13":  # its last digit is a sum
            value = "".join(f"{9 - int(letter)}" if letter.isdigit() else letter for letter in value)
        drawing = createBarcodeDrawing(kind, value=value, **how)
        renderPDF.draw(drawing, self.canvas, x, HIGH - y - drawing.height)
        self.codes.append(value)

    def done(self, name: str, kind: str) -> Page:
        self.canvas.showPage()
        self.canvas.save()
        return Page(name, kind, self.out.getvalue(), tuple(self.blocks), tuple(self.codes))


#: Draws one page.
Drawer = Callable[[Sheet], None]


def _light(red: float, green: float, blue: float) -> float:
    """How light a colour is (BT.601)."""
    return 0.299 * red + 0.587 * green + 0.114 * blue


@functools.cache
def pages(look: Look = USUAL) -> tuple[Page, ...]:
    """All of them."""
    made: list[Page] = []
    for kind in ("text", "mixed", "photo"):
        drawers: tuple[Drawer, ...] = importlib.import_module(f"bench.corpus_{kind}").DRAWERS
        for drawer in drawers:
            sheet = Sheet(len(made), look)
            drawer(sheet)
            made.append(sheet.done(drawer.__name__, kind))
    return tuple(made)
