"""Pictures travel inside Markdown: small, whole, and the same bytes for the same numbers."""

import base64
import re
import struct
import subprocess
import sys
from collections.abc import Callable

import pytest

from reactivation_assets.pictures import bar_chart, funnel, histogram, line_with_interval

MARKDOWN = re.compile(r"!\[([^\[\]\n]*)\]\(data:image/png;base64,([A-Za-z0-9+/=]+)\)")
WEEKS = [f"2026-W{week:02}" for week in range(1, 53)]
RATES = [0.1 + 0.07 * (week % 5) for week in range(52)]

PICTURES: dict[str, Callable[[], str]] = {
    "bars": lambda: bar_chart(["Стрижка", "Маникюр"], [3, 4.5], "Записи"),
    "many bars": lambda: bar_chart(range(365), [day % 7 for day in range(365)], "Days"),
    "dollars": lambda: bar_chart(["100$ и $5", "очень длинное название услуги $" * 3], [1, 2], "$x$ \\frac"),
    "no bars": lambda: bar_chart([], [], "Empty"),
    "funnel": lambda: funnel(["sent", "read", "booked"], [1200, 900, 130], "Funnel"),
    "funnel of nothing": lambda: funnel(["sent", "read"], [0, 0], "Funnel"),
    "histogram": lambda: histogram([i * i % 97 for i in range(5000)], "Gaps", threshold=45, unit="days"),
    "no histogram": lambda: histogram([], "Gaps"),
    "one value": lambda: histogram([3], "Gaps"),
    "line": lambda: line_with_interval(WEEKS, RATES, [r - 0.05 for r in RATES], [r + 0.1 for r in RATES], "Weekly"),
    "one point": lambda: line_with_interval(["w1"], [0.2], [0.1], [0.3], "Weekly"),
    "line with gaps": lambda: line_with_interval("abc", [0.2, None, 0.3], [0.1, 0, 0.2], [0.3, 1, 0.4], "Weekly"),
    "no line": lambda: line_with_interval(["w1"], [None], [0], [1], "Weekly"),
}


def png(markdown: str) -> bytes:
    found = MARKDOWN.fullmatch(markdown)
    assert found is not None
    return base64.b64decode(found[2], validate=True)


def chunks(image: bytes) -> dict[bytes, bytes]:
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    found, place = {}, 8
    while place < len(image):
        (length,) = struct.unpack(">I", image[place : place + 4])
        found[image[place + 4 : place + 8]] = image[place + 8 : place + 8 + length]
        place += length + 12
    return found


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_small_markdown_and_the_same_every_time(name: str) -> None:
    markdown = PICTURES[name]()
    assert len(markdown) < 40_000
    parts = chunks(png(markdown))
    assert struct.unpack(">II", parts[b"IHDR"][:8]) == (512, 256)
    assert b"tEXt" not in parts
    assert b"tIME" not in parts
    assert PICTURES[name]() == markdown


def test_different_numbers_give_different_pictures() -> None:
    assert bar_chart(["a", "b"], [1, 2], "t") != bar_chart(["a", "b"], [1, 3], "t")
    assert histogram([1, 2, 2], "t") != histogram([1, 2, 2], "t", threshold=1.5)


def test_the_background_is_white_so_that_a_dark_page_can_show_it() -> None:
    import io

    from matplotlib.image import imread

    corner = imread(io.BytesIO(png(PICTURES["funnel"]())))[0, -1]
    assert corner.tolist()[:3] == [1, 1, 1]


def test_a_title_cannot_break_out_of_the_markdown() -> None:
    found = MARKDOWN.fullmatch(bar_chart(["a"], [1], "a](http://example.org)\n[b"))
    assert found is not None
    assert found[1] == "a (http://example.org)  b"


def test_labels_and_values_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="2 labels for 1 values"):
        bar_chart(["a", "b"], [1], "t")
    with pytest.raises(ValueError, match="1 labels for 2 values"):
        line_with_interval(["a"], [0.1], [0.0], [0.2, 0.3], "t")


def test_the_drawing_library_is_loaded_only_to_draw() -> None:
    program = "import sys, reactivation_assets.pictures; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
