"""Pictures for the corpus, made from numbers: photographs, scanned and photographed pages, handwriting."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import reportlab
from PIL import Image, ImageDraw, ImageFilter, ImageFont

_FACES = Path(reportlab.__file__).parent / "fonts"


def hills(size: tuple[int, int], seed: int) -> np.ndarray:
    """Soft noise of many sizes, 0 to 1: clouds, stone, foliage."""
    dice = np.random.default_rng(seed)
    total, weight, ground = 0.0, 1.0, np.zeros((size[1], size[0]))
    for cells in (3, 6, 12, 25, 50, 100, 200):
        coarse = Image.fromarray(dice.random((cells, cells), dtype=np.float32), "F")
        ground += weight * np.asarray(coarse.resize(size, Image.Resampling.BICUBIC))
        total += weight
        weight *= 0.55
    ground /= total
    return np.asarray((ground - ground.min()) / (ground.max() - ground.min()))


def landscape(size: tuple[int, int], seed: int) -> Image.Image:
    """Sky, a sun, ranges of mountains one before the other, a lake; in colour."""
    wide, high = size
    down, across = np.mgrid[0:high, 0:wide].astype(np.float64)
    clouds = hills(size, seed)
    tone = 0.62 + 0.3 * (1 - down / high) * clouds + 0.08 * clouds
    sun = np.hypot(across - 0.7 * wide, down - 0.2 * high) / (0.06 * high)
    tone = np.where(sun < 1, 1.0, tone + 0.25 * np.exp(-np.maximum(sun - 1, 0)))
    for n, (top, shade) in enumerate(((0.35, 0.6), (0.48, 0.42), (0.62, 0.24))):
        line = hills((wide, 8), seed + 10 + n)[4]
        ridge = high * (top + 0.22 * (line - 0.5))
        rock = hills(size, seed + 20 + n)
        tone = np.where(down > ridge[None, :], shade * (0.75 + 0.5 * rock), tone)
    lake = down > 0.82 * high
    tone = np.where(lake, 0.45 + 0.2 * np.sin(down * 0.9 + 3 * clouds) * clouds, tone)
    tone = np.clip(tone, 0, 1)
    tints = [np.clip(tone * 255 * tint, 0, 255) for tint in (1.0, 0.98, 0.92)]
    return Image.fromarray(np.stack(tints, axis=-1).astype(np.uint8))


def still_life(size: tuple[int, int], seed: int) -> Image.Image:
    """Lit spheres on a table, with shadows and grain."""
    wide, high = size
    dice = np.random.default_rng(seed)
    down, across = np.mgrid[0:high, 0:wide].astype(np.float64)
    tone = 0.75 - 0.35 * down / high + 0.12 * hills(size, seed)
    for _ in range(7):
        x, y, r = dice.uniform(0.1, 0.9) * wide, dice.uniform(0.35, 0.85) * high, dice.uniform(0.07, 0.16) * wide
        shadow = np.hypot((across - x - 0.5 * r) / 1.4, (down - y - 0.9 * r) / 0.4) / r
        tone *= 1 - 0.6 * np.exp(-(shadow**4))
        inside = np.hypot(across - x, down - y) / r
        lit = np.sqrt(np.clip(1 - inside**2, 0, 1)) * 0.6 - 0.35 * (across - x) / r - 0.25 * (down - y) / r
        tone = np.where(inside < 1, np.clip(0.15 + dice.uniform(0.4, 0.8) * lit, 0.03, 1), tone)
    tone = np.clip(tone + dice.normal(0, 0.015, tone.shape), 0, 1)
    return Image.fromarray((tone * 255).astype(np.uint8)).convert("RGB")


def typed(lines: list[str], face: str, dpi: int, *, paper: int = 250, ink: int = 25, points: float = 11) -> Image.Image:
    """A letter page of typed lines, 72 points from the upper left corner, in grey."""
    sheet = Image.new("L", (round(8.5 * dpi * 2), 11 * dpi * 2), paper)
    pen, letters = ImageDraw.Draw(sheet), ImageFont.truetype(str(_FACES / face), round(points * dpi / 36))
    for n, line in enumerate(lines):
        pen.text((dpi * 2, dpi * 2 * (1 + n * points * 1.5 / 72)), line, fill=ink, font=letters)
    return sheet.resize((round(8.5 * dpi), 11 * dpi), Image.Resampling.BOX)


def scanned(page: Image.Image, seed: int, *, turn: float = 0.7, noise: float = 9) -> Image.Image:
    """As an office scanner gives it: askew, a little soft, grainy, with specks of dust."""
    dice = np.random.default_rng(seed)
    turned = page.rotate(turn, Image.Resampling.BICUBIC, fillcolor=246).filter(ImageFilter.GaussianBlur(0.6))
    pixels = np.asarray(turned).astype(np.float64) * 0.93 + dice.normal(0, noise, (page.height, page.width))
    for x, y in dice.integers(0, (page.width - 2, page.height - 2), (60, 2)):
        pixels[y : y + 2, x : x + 2] = 90
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def snapshot(page: Image.Image, seed: int) -> Image.Image:
    """As a telephone sees it: a shadow from one corner, uneven light, soft, grainy."""
    dice = np.random.default_rng(seed)
    down, across = np.mgrid[0 : page.height, 0 : page.width].astype(np.float64)
    far = np.hypot(across / page.width, down / page.height)
    light = 0.92 - 0.38 * far / far.max() - 0.16 / (1 + np.exp((across + down * 0.4 - page.width * 0.55) / 25))
    soft = np.asarray(page.filter(ImageFilter.GaussianBlur(0.7))).astype(np.float64)
    pixels = soft * light + dice.normal(0, 4, light.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def scribble(size: tuple[int, int], seed: int, *, ink: int = 60) -> Image.Image:
    """A line of handwriting: one pen, loops that lean, pressure that changes; nothing to be read."""
    dice = np.random.default_rng(seed)
    sheet = Image.new("L", (size[0] * 2, size[1] * 2), 255)
    pen = ImageDraw.Draw(sheet)
    x, middle, tall = size[1] * 0.8, size[1] * 1.1, size[1] * 0.35
    before: tuple[float, float] | None = None
    phase = 0.0
    while x < size[0] * 2 - size[1]:
        phase += 0.22
        if dice.random() < 0.012:
            before, x = None, x + size[1] * 0.4
        wave = math.sin(phase) + 0.6 * math.sin(phase * 1.7 + seed) + (1.2 * math.sin(phase / 3) if seed % 2 else 0)
        here = (x + tall * 0.5 * math.cos(phase) - wave * 0.2 * tall, middle - tall * 0.6 * wave)
        if before is not None:
            pen.line((*before, *here), fill=ink, width=3 + round(1.5 * (1 + math.sin(phase * 0.5))))
        before = here
        x += tall * 0.12
    return sheet.resize(size, Image.Resampling.BOX)


def jpeg(picture: Image.Image, quality: int = 80) -> io.BytesIO:
    """As a file to draw on a page."""
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    out.seek(0)
    return out
