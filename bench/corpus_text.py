"""The corpus: plain black text, large and tiny, upright and lying."""

from __future__ import annotations

from bench.corpus import HIGH, SANS, WIDE, Block, Drawer, Sheet


def dense_8pt(sheet: Sheet) -> None:
    for n in range(11):
        sheet.text(50, 60 + n * 62, 510, 5, 8)


def letter_11pt(sheet: Sheet) -> None:
    sheet.line(72, 80, "Meridian Freight Limited", 15)
    sheet.text(72, 130, 220, 3)
    sheet.line(72, 210, "Subject: delivery of the second lot", 11.5, "Helvetica-Bold")
    for n in range(5):
        sheet.text(72, 240 + n * 84, 460, 5)
    sheet.line(72, 690, "Yours sincerely", 11)


def letter_helvetica(sheet: Sheet) -> None:
    for n in range(7):
        sheet.text(72, 80 + n * 90, 460, 5, 12, "Helvetica")


def columns_times(sheet: Sheet) -> None:
    sheet.line(60, 70, "Notes on the harbour and its trade", 18, "Times-Bold")
    for column in (60, 316):
        for n in range(7):
            sheet.text(column, 100 + n * 92, 236, 6, 10, "Times-Roman")


def terms_6pt(sheet: Sheet) -> None:
    sheet.line(50, 60, "General terms of carriage", 10, "Helvetica-Bold")
    for column in (50, 310):
        for n in range(9):
            sheet.text(column, 84 + n * 70, 250, 8, 6, "Helvetica")


def thin_courier(sheet: Sheet) -> None:
    """A face whose strokes are hairlines."""
    for n in range(8):
        sheet.text(60, 70 + n * 82, 490, 6, 9, "Courier")


def table_sideways_7pt(sheet: Sheet) -> None:
    """A sheet of figures, printed lying on an upright page."""
    sheet.canvas.saveState()
    sheet.canvas.translate(WIDE, 0)
    sheet.canvas.rotate(90)
    lying = len(sheet.blocks)
    for row in range(38):
        # A line at y of the lying page; its foot is y - WIDE in canvas coordinates, which `line` turns over by HIGH.
        y = 70 + row * 13.5
        words = f"{4100 + row * 7} {sheet.sentences(420, 1, 7)[0]} {sheet.dice.randint(10, 99)}.{sheet.dice.randint(10, 99)}"
        sheet.line(60, y + HIGH - WIDE, words, 7)
        sheet.canvas.setLineWidth(0.25)
        sheet.canvas.line(55, WIDE - y - 4, 720, WIDE - y - 4)
    sheet.canvas.restoreState()
    for n, block in enumerate(sheet.blocks[lying:], lying):
        left, top, right, bottom = block.box
        top, bottom = top - (HIGH - WIDE), bottom - (HIGH - WIDE)
        sheet.blocks[n] = Block(block.words, (top, HIGH - right, bottom, HIGH - left), sideways=True)


def prescription_7pt(sheet: Sheet) -> None:
    sheet.line(60, 70, "Northfield Family Practice", 14)
    for n in range(16):
        sheet.text(60, 100 + n * 40, 480, 3, 7, SANS)


def minutes_10pt(sheet: Sheet) -> None:
    for n in range(8):
        sheet.line(60, 70 + n * 84, f"{n + 1}. Report of the treasurer", 11, "Times-Bold")
        sheet.text(76, 86 + n * 84, 470, 4, 10, "Times-Roman")


DRAWERS: tuple[Drawer, ...] = (
    dense_8pt,
    letter_11pt,
    letter_helvetica,
    columns_times,
    terms_6pt,
    thin_courier,
    table_sideways_7pt,
    prescription_7pt,
    minutes_10pt,
)
