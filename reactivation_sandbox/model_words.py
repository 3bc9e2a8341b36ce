"""What the pretended model writes: good texts for a prompt, and bad ones of every kind.

What to add here: a way to write badly. What to keep out: HTTP and errors of the server (`gemini_api.py`).
The prompt is read as a model reads it: which placeholders it lists, how long the text may be, which language it is in.
"""

import json
import re
from dataclasses import dataclass
from typing import Final

from reactivation_sandbox.dice import Dice

_LISTED = re.compile(r"^- \{(\w+)\}", re.MULTILINE)
_LIMIT = re.compile(r"(?:не больше|at most) (\d+)")
_TITLE = re.compile(r"<(?:данные|data)>(.*?)</(?:данные|data)>", re.DOTALL)

_RUSSIAN: Final = {
    "name": ("{name}, здравствуйте!", "Здравствуйте, {name}!", "{name}, добрый день!"),
    "": ("Здравствуйте!", "Добрый день!"),
    "days_phrase": (
        "Вы были у нас {days_phrase} назад.", "Не виделись уже {days_phrase}.", "Прошлый визит — {days_phrase} назад.",
        "Вы заходили к нам {days_phrase} назад.", "Последний раз вы были у нас {days_phrase} назад.",
    ),
    "warm": ("Будем рады вам снова.", "Рады будем увидеться!", "Заглядывайте к нам.", "Нам приятно видеть вас.", ""),
    "staff": ("Вас примет {staff}.", "На месте {staff}.", "С вами {staff}."),
    "discount": ("Скидка {discount}%.", "Для вас скидка {discount}%."),
    "slots": ("Есть время {slots}.", "Свободно {slots}.", "Можно {slots}."),
    "end": ("Записать вас? 😊", "Запишем вас? ✨", "Записать? 🙂"),
}  # fmt: skip
_ENGLISH: Final = {
    "name": ("Hi {name}!", "Hello {name}!"),
    "": ("Hello!", "Hi!"),
    "days_phrase": ("It has been {days_phrase}.", "Your last visit was {days_phrase} ago."),
    "warm": ("We would be glad to see you.", ""),
    "staff": ("With {staff}.",),
    "discount": ("{discount}% off.", "You get {discount}% off."),
    "slots": ("Free: {slots}.", "We have {slots}."),
    "end": ("Shall we book? 😊", "Shall we book you in? 🙂"),
}

FLAWS: Final = (
    "preamble", "markup", "numbers", "wrong_staff", "price", "too_long", "no_placeholder", "unknown_placeholder", "link", "promise", "machine",
    "not_json", "other_service", "gender", "latin", "guarantee",
)  # fmt: skip
"""Ways to write badly; the rules of messages must find every one."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as the model understands it."""

    placeholders: tuple[str, ...]
    limit: int
    russian: bool
    wants_days: bool
    titles: tuple[str, ...]


def understand(system: str, question: str, wants_days: bool) -> Asked:
    """Read a prompt."""
    limit = _LIMIT.search(system)
    return Asked(
        tuple(_LISTED.findall(question)),
        int(limit[1]) if limit else 200,
        bool(re.search("[а-я]", system)),
        wants_days,
        tuple(title.strip() for title in _TITLE.findall(question)),
    )


def answer(asked: Asked, dice: Dice, content: str, flaw: str | None) -> str:
    """The answer's text: JSON, unless the flaw is that it is not."""
    if asked.wants_days:
        return _days(asked, dice, flaw)
    text = _good(asked, dice, content)
    spoilt = _spoilt(text, asked, flaw, dice, content) if flaw is not None else text
    return spoilt if flaw == "not_json" else json.dumps({"text": spoilt}, ensure_ascii=False)


def _good(asked: Asked, dice: Dice, content: str) -> str:
    bank = _RUSSIAN if asked.russian else _ENGLISH
    kinds = ["name" if "name" in asked.placeholders else "", "days_phrase", "warm"]
    kinds += [kind for kind in ("staff", "discount", "slots") if kind in asked.placeholders] + ["end"]
    for draw in range(6):
        text = " ".join(filter(None, (dice.pick(bank[kind], "words", content, draw, kind) for kind in kinds)))
        if len(re.sub(r"\{\w+\}", "", text)) <= asked.limit:
            return text
    return " ".join(filter(None, (min(bank[kind], key=len) for kind in kinds)))


def _spoilt(text: str, asked: Asked, flaw: str, dice: Dice, content: str) -> str:
    middle = {
        "numbers": ("Уже 3 места заняты.", "Only 3 places left."),
        "wrong_staff": ("Мастер Снежана передаёт привет.", "Snezhana is waiting."),
        "price": ("Всего 990 рублей.", "It costs 20 dollars."),
        "link": ("Запись на salon-example.ru.", "See www.salon.example."),
        "promise": ("Избавим от боли навсегда.", "We cure it forever."),
        "machine": ("Как ИИ, советую прийти.", "As an AI I suggest a visit."),
        "other_service": ("Заодно сделаем маникюр и массаж.", "A massage and a manicure too."),
        "gender": ("Вы так давно не заходила.", "Dear sir, come over."),
        "guarantee": ("Гарантируем результат.", "We guarantee the result."),
        "too_long": ("Мы очень рады. " * 40, "We are very glad. " * 40),
        "unknown_placeholder": ("Ваш телефон {phone}.", "Your phone is {phone}."),
        "latin": ("See you soon.", "До встречи."),
    }
    if flaw in middle:
        head, mark, rest = text.partition("! ")
        return f"{head}{mark}{middle[flaw][0 if asked.russian else 1].strip()} {rest}"
    if flaw == "preamble":
        return (
            dice.pick(
                ("Конечно! Вот ваше сообщение: ", "Вот вариант: ", "Sure, here is the message: "), "preamble", content
            )
            + text
        )
    if flaw == "markup":
        return f"**{text}**"
    if flaw == "no_placeholder":
        return re.sub(r"\{days_phrase\}", "долго" if asked.russian else "long", text)
    return text  # not_json: the words as they are


def _days(asked: Asked, dice: Dice, flaw: str | None) -> str:
    """An interval for the service that was asked about."""
    title = asked.titles[-1].casefold() if asked.titles else ""
    days = 28 + dice.number("days", title) % 30
    if flaw in {"numbers", "too_long", "price"}:
        days = 4000
    if flaw in {"not_json", "preamble", "markup"}:
        return f"Примерно {days} дней"
    reasoning = "Обычный срок для такой услуги." if asked.russian else "The usual time for such a service."
    return json.dumps({"days": days, "confidence": 0.6, "reasoning": reasoning}, ensure_ascii=False)
