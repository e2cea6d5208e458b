"""Draws a bar chart of the event's numbers and returns it as a PNG."""

import base64
import io

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT, MARGIN = 480, 270, 24
PAPER, INK, GRID = "#fbfaf7", "#22313f", "#dddad2"
COLOURS = ("#2a9d8f", "#e9c46a", "#f4a261", "#e76f51", "#457b9d")

# Outside the handler: done once per version, and every instance starts with it. Without
# `preinit` Pillow would import its PNG writer in the first invocation of each instance.
Image.preinit()
TITLE = ImageFont.load_default(20)
LABEL = ImageFont.load_default(12)


def handler(event, context):
    values = event["values"]
    picture = draw(event.get("title", "Chart"), values)
    file = io.BytesIO()
    picture.save(file, "PNG")
    print(f"drew {len(values)} bars in {len(file.getvalue())} bytes")
    return {
        "png": base64.b64encode(file.getvalue()).decode(),
        "bytes": len(file.getvalue()),
        "width": picture.width,
        "height": picture.height,
    }


def draw(title, values):
    picture = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    pen = ImageDraw.Draw(picture)
    pen.text((MARGIN, 14), title, INK, TITLE)
    top, floor = 56, HEIGHT - 34
    for part in range(5):
        y = floor - part * (floor - top) // 4
        pen.line((MARGIN, y, WIDTH - MARGIN, y), GRID)
    most = max([*values.values(), 1])
    step = (WIDTH - 2 * MARGIN) / max(1, len(values))
    for number, (label, value) in enumerate(values.items()):
        left = MARGIN + number * step
        height = (floor - top) * max(0, value) / most
        colour = COLOURS[number % len(COLOURS)]
        bar = (left + step * 0.15, floor - height, left + step * 0.85, floor)
        pen.rounded_rectangle(bar, 4, colour)
        middle = left + step / 2
        pen.text((middle, floor + 8), str(label), INK, LABEL, "ma")
        pen.text((middle, floor - height - 4), f"{value:g}", INK, LABEL, "mb")
    return picture
