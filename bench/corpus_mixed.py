"""The corpus: colour, tables, forms, charts, scans, codes and handwriting."""

from __future__ import annotations

import math
from datetime import date

from bench import pictures
from bench.corpus import HIGH, SANS, WIDE, Block, Drawer, Sheet

_NAMES = (
    "Bracket",
    "Copper pipe",
    "Door seal",
    "Filter bag",
    "Gasket",
    "Hinge",
    "Lamp holder",
    "Motor belt",
    "Pump valve",
    "Spring",
)


def grey_text(sheet: Sheet) -> None:
    for n, tone in enumerate(("#333333", "#555555", "#777777", "#888888", "#999999", "#aaaaaa", "#bbbbbb")):
        sheet.line(60, 70 + n * 94, f"Text in the grey {tone[1:3]}", 11, ink=tone)
        sheet.text(60, 88 + n * 94, 490, 4, 10, SANS if n % 2 else "Helvetica", tone)


def highlights(sheet: Sheet) -> None:
    y = 70.0
    for n, tone in enumerate(("#ffff00", "#b5ffb5", "#ffc0cb", "#ffd27f", "#bfe3ff", "#ffff66", "#d9c2ff", "#ffe0e0")):
        sheet.fill(58, y - 12, 480 - n * 20, 62, tone)
        y = sheet.text(62, y, 440 - n * 20, 4, 10.5) + 22


def dark_mode(sheet: Sheet) -> None:
    sheet.fill(0, 0, WIDE, HIGH, "#1e1e1e")
    sheet.line(60, 80, "Your order is on its way", 18, ink="#ffffff")
    for n, tone in enumerate(("#ffffff", "#dddddd", "#8ab4f8", "#cccccc", "#f28b82", "#e0e0e0")):
        sheet.text(60, 120 + n * 100, 480, 5, 10.5, ink=tone)


def colour_on_colour(sheet: Sheet) -> None:
    pairs = (
        ("#ffffff", "#d32f2f"), ("#ffeb3b", "#1565c0"), ("#ffffff", "#388e3c"), ("#000000", "#ff9800"),
        ("#b71c1c", "#ffcdd2"), ("#ffffff", "#7b1fa2"), ("#003300", "#81c784"), ("#ffffff", "#00838f"),
    )  # fmt: skip
    for n, (ink, tone) in enumerate(pairs):
        sheet.fill(54, 54 + n * 84, 500, 70, tone)
        sheet.text(64, 72 + n * 84, 470, 4, 11, ink=ink)


def gradient_slide(sheet: Sheet) -> None:
    sheet.gradient(0, 0, WIDE, 330, ("#0d47a1", "#5c9ede"))
    sheet.gradient(0, 400, WIDE, 330, ("#f5f5f5", "#b0bec5"))
    sheet.line(60, 80, "Results of the third quarter", 24, "Helvetica-Bold", "#ffffff")
    for n in range(5):
        sheet.line(80, 130 + n * 36, sheet.sentences(400, 1, 14)[0], 14, ink="#ffffff")
    for n in range(6):
        sheet.line(80, 450 + n * 40, sheet.sentences(400, 1, 14)[0], 14, ink="#263238")


def dark_slide(sheet: Sheet) -> None:
    sheet.fill(30, 40, 552, 330, "#263238")
    sheet.line(60, 90, "Plan for the coming year", 22, ink="#ffffff")
    for n in range(5):
        sheet.fill(62, 122 + n * 40, 9, 9, "#ff9800")
        sheet.line(84, 131 + n * 40, sheet.sentences(430, 1, 13)[0], 13, ink="#eceff1")
    sheet.fill(30, 410, 552, 330, "#fafafa", "#263238", 2)
    for n in range(7):
        sheet.line(60, 460 + n * 36, sheet.sentences(450, 1, 13)[0], 13, ink="#37474f")


def newsletter(sheet: Sheet) -> None:
    sheet.fill(0, 0, WIDE, 90, "#00695c")
    sheet.line(40, 56, "The Harbour Gazette", 26, "Times-Bold", "#ffffff")
    sheet.line(430, 80, "Number 214, October", 9, ink="#b2dfdb")
    sheet.picture(40, 110, 250, 160, pictures.jpeg(pictures.landscape((500, 320), sheet.seed(41))))
    sheet.text(310, 124, 260, 11, 10, "Times-Roman")
    sheet.fill(40, 290, 532, 60, "#e0f2f1")
    sheet.text(52, 310, 500, 3, 11, ink="#004d40")
    for column in (40, 316):
        for n in range(4):
            sheet.text(column, 376 + n * 92, 256, 6, 10, "Times-Roman", "#212121")
    sheet.text(40, 752, 500, 2, 8, ink="#757575")


def invoice(sheet: Sheet) -> None:
    sheet.line(50, 70, "INVOICE 2026-1187", 20, "Helvetica-Bold", "#2c3e50")
    for n, (label, value) in enumerate(
        (("Date", "14 October 2026"), ("Customer", "Lindqvist Brothers"), ("Terms", "thirty days net"))
    ):
        sheet.line(50, 100 + n * 16, label, 8.5, ink="#9e9e9e")
        sheet.line(120, 100 + n * 16, value, 10)
    sheet.fill(50, 160, 512, 20, "#2c3e50")
    for x, label in ((56, "Article"), (300, "Quantity"), (390, "Price"), (490, "Amount")):
        sheet.line(x, 174, label, 9, "Helvetica-Bold", "#ffffff")
    for row in range(20):
        y, count, price = 196 + row * 22, sheet.dice.randint(1, 40), sheet.dice.randint(100, 9900) / 100
        if row % 2:
            sheet.fill(50, y - 14, 512, 21, "#f4f6f7")
        for x, words in (
            (56, sheet.dice.choice(_NAMES)),
            (300, f"{count}"),
            (390, f"{price:.2f}"),
            (490, f"{count * price:.2f}"),
        ):
            sheet.line(x, y, words, 10, ink="#34495e")
    sheet.rule(380, 640, 562, 640, 1, "#bdc3c7")
    sheet.line(390, 660, "Total to be paid 18 240.75", 12, "Helvetica-Bold", "#c0392b")
    sheet.text(50, 720, 512, 3, 7.5, ink="#8a8a8a")


def hairline_table(sheet: Sheet) -> None:
    for row in range(31):
        sheet.rule(50, 60 + row * 22, 562, 60 + row * 22, 0.2)
    for x in (50, 110, 330, 420, 562):
        sheet.rule(x, 60, x, 720, 0.2)
    for row in range(30):
        y = 75 + row * 22
        sheet.line(56, y, f"{1001 + row}", 9)
        sheet.line(116, y, sheet.sentences(205, 1, 9)[0], 9)
        sheet.line(336, y, date.fromordinal(739000 + row * 9).isoformat(), 9)
        sheet.line(430, y, sheet.dice.choice(_NAMES), 9)


def grey_grid_table(sheet: Sheet) -> None:
    for row in range(28):
        y = 60 + row * 24
        sheet.fill(50, y, 512, 24, "#ffffff" if row % 2 else "#e8eef4", "#c8c8c8")
        sheet.line(58, y + 16, sheet.sentences(280, 1, 9.5)[0], 9.5)
        sheet.line(400, y + 16, f"{sheet.dice.randint(1000, 9999)} {sheet.dice.choice(_NAMES)}", 9.5, ink="#444444")


def coloured_header_table(sheet: Sheet) -> None:
    for part, tone in enumerate(("#4472c4", "#70ad47", "#ed7d31")):
        top = 60 + part * 220
        sheet.fill(50, top, 512, 24, tone)
        for n, label in enumerate(("Product", "January", "February", "March")):
            sheet.line(60 + n * 128, top + 16, label, 10.5, "Helvetica-Bold", "#ffffff")
        for row in range(7):
            y = top + 24 + row * 22
            sheet.fill(50, y, 512, 22, ("#d9e2f3", "#e2efd9", "#fbe4d5")[part] if row % 2 == 0 else "#ffffff")
            sheet.line(60, y + 15, sheet.dice.choice(_NAMES), 10)
            for n in range(1, 4):
                sheet.line(60 + n * 128, y + 15, f"{sheet.dice.randint(100, 99999):,}".replace(",", " "), 10)


def form(sheet: Sheet) -> None:
    sheet.line(50, 60, "Application for a permit", 16, "Helvetica-Bold")
    labels = (
        "Family name",
        "Given names",
        "Street and number",
        "Postal code and town",
        "Telephone",
        "Date of birth",
        "Occupation",
    )
    for row, label in enumerate(labels * 2):
        x, y = 50 + row % 2 * 262, 90 + row // 2 * 58
        sheet.line(x, y, label, 7.5, "Helvetica", "#555555")
        sheet.fill(x, y + 5, 250, 24, "#eef3fa", "#7f9db9")
        sheet.line(x + 6, y + 21, sheet.sentences(225, 1, 10, "Courier")[0], 10, "Courier")
    for n in range(8):
        sheet.fill(50, 512 + n * 24, 11, 11, "#ffffff", "#000000", 0.75)
        if n % 3 == 0:
            sheet.rule(51, 513 + n * 24, 60, 522 + n * 24, 1.2)
            sheet.rule(51, 522 + n * 24, 60, 513 + n * 24, 1.2)
        sheet.line(70, 521 + n * 24, sheet.sentences(440, 1, 9.5)[0], 9.5)
    sheet.rule(50, 740, 260, 740, 0.5)
    sheet.line(50, 752, "Place, date, signature", 7.5, ink="#555555")
    sheet.picture(70, 706, 160, 34, pictures.jpeg(pictures.scribble((480, 102), sheet.seed(4))))


def bar_chart(sheet: Sheet) -> None:
    sheet.line(60, 70, "Sales by region and quarter", 15, "Helvetica-Bold")
    for n in range(9):
        sheet.rule(80, 120 + n * 45, 550, 120 + n * 45, 0.4, "#d0d0d0")
        sheet.line(48, 123 + n * 45, f"{800 - n * 100}", 9, ink="#666666")
    for group in range(4):
        for n, tone in enumerate(("#4472c4", "#ed7d31", "#a5a5a5", "#ffc000")):
            tall = sheet.dice.randint(60, 340)
            sheet.fill(100 + group * 115 + n * 22, 480 - tall, 20, tall, tone)
        sheet.line(112 + group * 115, 496, ("North", "South", "East", "West")[group], 10)
    for n, tone in enumerate(("#4472c4", "#ed7d31", "#a5a5a5", "#ffc000")):
        sheet.fill(120 + n * 100, 520, 10, 10, tone)
        sheet.line(136 + n * 100, 529, f"Quarter {n + 1}", 9.5)
    sheet.text(60, 570, 490, 12, 10.5)


def pie_and_lines(sheet: Sheet) -> None:
    sheet.line(60, 70, "Where the money goes", 15, "Helvetica-Bold")
    start = 0.0
    for n, tone in enumerate(("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd")):
        turn = (110, 90, 70, 50, 40)[n]
        sheet.canvas.setFillColor(sheet.colour(tone))
        sheet.canvas.wedge(80, HIGH - 320, 300, HIGH - 100, start, turn, stroke=0, fill=1)
        start += turn
        sheet.fill(350, 120 + n * 34, 14, 14, tone)
        sheet.line(374, 131 + n * 34, ("Wages", "Rent and heating", "Transport", "Materials", "Everything else")[n], 11)
    for n, tone in enumerate(("#1f77b4", "#d62728", "#7f7f7f")):
        sheet.canvas.setStrokeColor(sheet.colour(tone))
        sheet.canvas.setLineWidth(1.5)
        path = sheet.canvas.beginPath()
        for step in range(60):
            x, y = 80 + step * 8, 520 - 60 * math.sin(step / (6 + 2 * n)) - n * 30
            (path.lineTo if step else path.moveTo)(x, HIGH - y)
        sheet.canvas.drawPath(path)
    sheet.text(60, 660, 490, 6, 10.5)


def _block_of(lines: list[str], points: float, first: float = 72) -> Block:
    tall = points * 1.5
    return Block(" ".join(lines), (60, first - 6, 575, first + tall * len(lines) + 10))


def _typed(sheet: Sheet, lines: int, points: float) -> list[str]:
    return sheet.lines(470 * 0.83, lines, points, "Helvetica-Bold")


def scan_150dpi(sheet: Sheet) -> None:
    lines = _typed(sheet, 34, 12)
    page = pictures.typed(lines, sheet.look.typed, 150, points=12)
    sheet.picture(0, 0, WIDE, HIGH, pictures.jpeg(pictures.scanned(page, sheet.seed(3))))
    sheet.blocks.append(_block_of(lines, 12))


def scan_200dpi_faded(sheet: Sheet) -> None:
    """A faded copy: brown ink on grey paper."""
    lines = _typed(sheet, 36, 11)
    page = pictures.typed(lines, sheet.look.typed, 200, paper=215, ink=110, points=11)
    sheet.picture(0, 0, WIDE, HIGH, pictures.jpeg(pictures.scanned(page, sheet.seed(8), turn=-0.5, noise=6)))
    sheet.blocks.append(_block_of(lines, 11))


def phone_snapshot(sheet: Sheet) -> None:
    lines = _typed(sheet, 32, 13)
    page = pictures.typed(lines, sheet.look.typed, 170, points=13)
    sheet.picture(0, 0, WIDE, HIGH, pictures.jpeg(pictures.snapshot(page, sheet.seed(5)), 85))
    sheet.blocks.append(_block_of(lines, 13))


def codes(sheet: Sheet) -> None:
    sheet.line(60, 70, "Return label for consignment 20418", 14)
    sheet.code("Code128", 60, 100, "FAXGATE-20418-7", barHeight=50, barWidth=1.0)
    sheet.code("QR", 60, 180, "https://example.com/returns/20418", barWidth=120, barHeight=120)
    sheet.code("Code128", 260, 200, "TRACK4471-99", barHeight=36, barWidth=0.85)
    sheet.code("EAN13", 60, 340, "4006381333931", barHeight=60, barWidth=1.0)
    sheet.code("QR", 300, 330, "INV:2026-1187;EUR;18240.75", barWidth=80, barHeight=80)
    sheet.text(60, 470, 480, 10, 11)


def shipping_label(sheet: Sheet) -> None:
    sheet.fill(40, 40, 532, 440, "#ffffff", "#000000", 2)
    sheet.fill(40, 40, 532, 50, "#000000")
    sheet.line(60, 74, "EXPRESS PARCEL", 24, "Helvetica-Bold", "#ffffff")
    for n in range(4):
        sheet.line(60, 120 + n * 20, sheet.sentences(280, 1, 13)[0], 13)
    sheet.rule(40, 210, 572, 210, 1.5)
    sheet.code("Code128", 70, 240, "JJD000390007882154", barHeight=80, barWidth=1.25)
    sheet.code("QR", 400, 100, "ROUTE 44 HUB 7 STOP 3", barWidth=100, barHeight=100)
    sheet.rule(40, 350, 572, 350, 1.5)
    sheet.code("Standard39", 70, 370, "BOX 7 OF 12", barHeight=60, barWidth=0.9, checksum=0)
    sheet.text(60, 520, 490, 10, 11)


def codes_on_colour(sheet: Sheet) -> None:
    """Codes on pale and saturated grounds, and as a picture."""
    for n, tone in enumerate(("#fff59d", "#c8e6c9", "#ffcc80")):
        sheet.fill(50, 50 + n * 130, 512, 110, tone)
        sheet.code("Code128", 70, 70 + n * 130, f"PALLET-{n}-{n * 1733:05d}", barHeight=50, barWidth=1.0)
        sheet.code("QR", 420, 60 + n * 130, f"https://example.com/p/{n * 1733}", barWidth=90, barHeight=90)
        sheet.line(70, 142 + n * 130, f"Pallet number {n * 1733 + 11}", 11)
    sheet.text(60, 480, 490, 12, 11)


def handwriting(sheet: Sheet) -> None:
    sheet.line(60, 70, "Note from the ward", 14)
    for n in range(5):
        sheet.picture(60, 100 + n * 76, 480, 56, pictures.jpeg(pictures.scribble((1440, 168), sheet.seed(n), ink=40 + 25 * n)))
        sheet.rule(60, 152 + n * 76, 540, 152 + n * 76, 0.4, "#9fc5e8")
    sheet.text(60, 520, 480, 8, 11)


DRAWERS: tuple[Drawer, ...] = (
    grey_text, highlights, dark_mode, colour_on_colour, gradient_slide, dark_slide, newsletter, invoice, hairline_table,
    grey_grid_table, coloured_header_table, form, bar_chart, pie_and_lines, scan_150dpi, scan_200dpi_faded, phone_snapshot,
    codes, shipping_label, codes_on_colour, handwriting,
)  # fmt: skip
