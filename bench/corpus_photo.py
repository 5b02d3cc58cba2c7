"""The corpus: pages with photographs."""

from __future__ import annotations

from bench import pictures
from bench.corpus import Drawer, Sheet


def landscape_whole(sheet: Sheet) -> None:
    sheet.picture(36, 60, 540, 620, pictures.jpeg(pictures.landscape((1080, 1240), sheet.seed(3))))
    sheet.line(72, 720, "The lake in the early evening, seen from the north shore", 11)


def two_with_captions(sheet: Sheet) -> None:
    sheet.line(72, 60, "Report of the survey", 16)
    sheet.picture(72, 80, 468, 240, pictures.jpeg(pictures.still_life((936, 480), sheet.seed(5))))
    sheet.text(72, 340, 468, 3, 10)
    sheet.picture(72, 400, 468, 240, pictures.jpeg(pictures.landscape((936, 480), sheet.seed(7))))
    sheet.text(72, 660, 468, 4, 10)


def product_sheet(sheet: Sheet) -> None:
    sheet.line(54, 70, "Model 4400 table lamp", 20, "Helvetica-Bold")
    sheet.picture(54, 90, 300, 380, pictures.jpeg(pictures.still_life((750, 950), sheet.seed(11)), 90))
    sheet.text(370, 110, 190, 14, 10, "Helvetica")
    for n in range(4):
        sheet.text(54, 500 + n * 60, 500, 3, 10)


def damage_report(sheet: Sheet) -> None:
    sheet.line(54, 70, "Claim number 77 431 902", 14)
    for n in range(4):
        x, y = 54 + n % 2 * 260, 100 + n // 2 * 260
        sheet.picture(x, y, 240, 190, pictures.jpeg(pictures.landscape((600, 475), sheet.seed(30 + n))))
        sheet.text(x, y + 206, 240, 3, 8)


DRAWERS: tuple[Drawer, ...] = (landscape_whole, two_with_captions, product_sheet, damage_report)
