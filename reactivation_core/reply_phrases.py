"""Splits a normalised reply into marked tokens: agreement, refusal, time, date, person, service, courtesy, unknown.

Here: the vocabulary of replies, Russian and English, the scanner. Keep out: what a date means (`reply_dates`)
and what the tokens together mean (`replies`).

Closed classes (yes, no, weekdays, months) are matched as whole words by regular expressions. Open ones (services, people's names
in any case) go through the lemmas of pymorphy3.
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from reactivation_core.morphology import lemmas
from reactivation_core.reply_dates import MONTHS, SEASONS, WEEKDAYS
from reactivation_core.reply_words import normalise, words_of

_HOUR_WORDS = r"(?:час|два|три|четыре|пять|шесть|семь|восемь|девять|десять|одиннадцать|двенадцать|noon)"
_COUNT = r"(?:\d{1,3}|a couple of|a couple|couple of|одну|один|два|две|пару|три|четыре|пять|шесть|a|one|two|three|four|five|six)"
_DAY_MONTH = rf"(?:\d{{1,2}}(?: of)? {MONTHS}|{MONTHS} \d{{1,2}})"
_DOTTED = r"\d{1,2}[./](?:0?[1-9]|1[0-2])(?:[./]20\d\d)?"
_BOUND = r"(?:до|после|по|с|со|until|till|before|after|from)"
_LOCAL_DAY = (
    rf"(?:{_DAY_MONTH}|{_DOTTED}|{WEEKDAYS}|конца (?:{MONTHS}|месяца|года|недели)|нового года|new year|{MONTHS})"
)

# The first kind that matches at a position wins, so the longer phrase stands above the shorter.
_PATTERNS: tuple[tuple[str, str], ...] = (
    ("named_staff", r"§\d+§"),
    ("named_service", r"¤\d+¤"),
    ("sarcasm", r"(?:ага|ну да|да[ ,]*да|ну|угу)[ ,.!]+(?:конечно|щас|сейчас)|щас|щаз|yeah right|as if"),
    ("greeting", r"добр(?:ый|ое|ого|ой) (?:день|утро|вечер|времени суток|дня|вечера|утра)|good (?:morning|afternoon|evening|day)"),
    (
        "wrong",
        (r"(?:вы )?ошиблись(?: номером| адресом)?|не туда(?: пишете| попали)?|не тот номер|не по адресу|"
        r"(?:это )?не (?:мой|ее|его|их) (?:номер|телефон)|(?:у (?:нее|него) )?(?:другой|новый|сменился) (?:хозяин|владелец)(?: номера)?|"
        r"wrong (?:number|person)|not my number"),
    ),
    (
        "booked",
        (r"(?:я |мы |уже |сама |сам )+запис(?:ан|ана|аны|алась|ался|ались)|запис(?:алась|ался|ались|ана|ан) уже|"
        r"у меня (?:уже )?(?:есть |стоит )?запись|already (?:booked|have an appointment|have a booking)|"
        r"i (?:just |already )?(?:have (?:an appointment|a booking)|booked)(?: already)?|im (?:already )?booked"),
    ),
    (
        "question",
        (r"сколько (?:это )?(?:будет )?сто(?:ит|ят)|(?:какая|какова) (?:цена|стоимость|скидка)|(?:какой|подскажите) (?:у вас )?адрес|"
        r"где вы (?:находитесь|расположены)|как (?:к вам |вас )(?:добраться|найти|проехать)|"
        r"(?:до скольки|во сколько|как) (?:вы )?(?:работаете|открываетесь|закрываетесь)|"
        r"how much(?: is it| does it cost)?|where are you(?: located)?|whats the (?:price|address)"),
    ),
    (
        "later",
        rf"(?:через|спустя) (?:{_COUNT} )?(?:день|дня|дней|денек|неделю|недели|недель|недельку|недельки|месяц|месяца|месяцев|месяцок|"
        rf"полгода|год|года)|in (?:{_COUNT} )?(?:days?|weeks?|months?)|{_BOUND} {_LOCAL_DAY}|"
        rf"(?:в|к|ближе к|in|early|late)(?: (?:начале|середине|конце|началу|концу|early|late|mid))? {MONTHS}|"
        rf"(?:в )?следующ(?:ем|ий) (?:месяце|месяц|году|год)|next (?:month|year)|в новом году|in the new year|"
        r"(?:следующей |этой |in the |next )?(?:" + "|".join(SEASONS) + r")",
    ),
    ("next_week", r"(?:на |через )?следующ(?:ей|ую) недел(?:е|ю)|next week"),
    ("bound_time", rf"{_BOUND} \d{{1,2}}[:.]\d\d|после (?:работы|обеда)|до (?:обеда|работы)|after work"),
    ("bound_number", rf"{_BOUND} \d{{1,2}}(?: числа)?"),
    ("date", rf"(?:в |на |к |on )?(?:{_DAY_MONTH}|{_DOTTED}|\d{{1,2}} числа)"),
    (
        "time",
        (r"(?:в |на |к |at |около )?(?:[01]?\d|2[0-3])(?:[:.\-]| )[0-5]\d(?: ?(?:утра|дня|вечера|am|pm))?|"
        r"(?:в |к )?(?:пол |половин[аеу] )(?:первого|второго|третьего|четвертого|пятого|шестого|седьмого|восьмого|девятого|десятого)|"
        r"(?:в |к )?пол(?:первого|второго|третьего|четвертого|пятого|шестого|седьмого|восьмого|девятого|десятого)"),
    ),
    (
        "hour",
        (rf"(?:в|на|к|at|около) (?:\d{{1,2}}|{_HOUR_WORDS})(?: (?:час(?:а|ов)?|ч))?(?: (?:утра|дня|вечера))?(?: ?(?:am|pm))?|"
        rf"(?:\d{{1,2}}|{_HOUR_WORDS}) (?:час(?:а|ов)?|ч|утра|дня|вечера)(?: (?:утра|дня|вечера))?|\d{{1,2}} ?(?:am|pm)|\d{{1,2}}ч"),
    ),
    (
        "ordinal",
        (r"(?:на |в )?(?:перв|втор|трет|последн)(?:ый|ое|ая|ой|ого|ую|ом|ий|ье|ьего|ью|ьем|ее|яя|юю|его)(?: (?:вариант|время|окошко|слот|час))?|"
        r"(?:вариант|номер|option|slot|number) (?:номер )?[1-9]|(?:the )?(?:first|second|third|last)(?: (?:one|option|slot|time))?|1st|2nd|3rd"),
    ),
    ("number", r"\d{1,2}"),
    ("weekday", rf"(?:(?:в|во|на|on) )?(?:(?:эт|ближайш|следующ)(?:у|ую|ий|от|ее|ей|его) )?{WEEKDAYS}"),
    ("near_day", r"сегодня|завтра|послезавтра|today|tomorrow"),
    (
        "part",
        r"(?:с |по |под |in the |this )?(?:утр(?:ом|а|ечком|о|ам)|дн(?:ем|я)|вечер(?:ом|а|ком|ам|ок|очком)?|morning|afternoon|evening|tonight)|в обед",
    ),
    (
        "yes",
        (r"не против|не откажусь|не вопрос|без проблем|почему (?:бы и )?нет|не возражаю|(?:это )?мне (?:подходит|удобно)|"
        r"no problem|why not|sounds good|works for me|that works|lets do it|book (?:me|it|us)(?: in)?|sign me up|любо(?:е|й)(?: время| вариант)?|"
        r"any(?: time| one| of them)?|да|дада|ага|угу|ок|окей|окэй|оке|okay|ok|хорошо|давайте|давай|согласн(?:а|ы)|согласен|подходит|"
        r"подойдет|устраивает|устроит|запиши(?:те)?(?: пожалуйста)?|записывай(?:те)?|можно|буду|приду|придем|конечно|удобно|хочу|"
        r"хотел(?:а|и)? бы|договорились|годится|бронируйте|забронируйте|yes|yeah|yep|yup|sure|great|perfect|works?|absolutely|definitely|confirm(?:ed)?|"
        r"[👍👌✅✔🆗🤝+]|плюс"),
    ),
    (
        "no",
        (r"не (?:надо|нужно|хочу|хочется|буду|приду|придем|смогу|могу|получится|получается|планирую|собираюсь|готов|готова)|"
        r"не (?:интересно|интересует|интересны|актуально|сейчас|сегодня)|неинтересно|неактуально|не в этот раз|(?:как нибудь )?в другой раз|"
        r"как нибудь потом|пока нет|обойдусь|откажусь|отказываюсь|нет|неа|не а|not (?:interested|now|today|this time|yet)|maybe (?:later|next time)|"
        r"no|nope|nah|im good|[👎🙅]"),
    ),
    ("not", r"не|ни|без|dont|doesnt|cant|not"),
    ("turn", r"лучше|но|а|только|зато|but|rather|only|instead|better"),
    ("or", r"или|либо|or"),
    ("thanks", r"спасибо|спасибки|спасибочки|спс|благодар(?:ю|им|ствую)|мерси|thanks|thank you|thx|ty|[🙏❤♥]"),
    (
        "away",
        (r"(?:я )?в (?:отпуске?|отъезде|командировке|разъездах|другом городе)|(?:в )?отпуск|уехал[аи]?|уезжаю|улетаю|улетел[аи]?|болею|заболел[аи]?|"
        r"на больничном|пока|заняты?|занята|on (?:vacation|holiday|leave|a trip)|away|sick|travell?ing|out of town|busy"),
    ),
    (
        "ask_later",
        r"напишите|напомните|свяжитесь|позвоните|вернемся|обращусь|запишусь|напишу|позвоню|позже|попозже|потом|(?:text|message|write|remind|ping|contact|call)(?: (?:to )?me)?",
    ),
    ("other_staff", r"(?:к |у )?друг(?:ому|ого|ой|им)(?: мастер\w*| барбер\w*| врач\w*| тренер\w*| специалист\w*)|another (?:stylist|master|barber|doctor|trainer)"),
    (
        "filler",
        (r"я|мы|вы|мне|меня|нам|нас|вам|вас|ваш|к|ко|у|в|во|на|с|со|за|и|уже|же|вот|ну|так|то|тогда|бы|ли|еще|тоже|как раз|именно|это|этот|эту|эта|"
        r"пожалуйста|пжл|пжлст|плиз|здравствуйте|здрасте|привет|приветствую|большое|огромное|очень|время|времени|окошко|запись|записаться|прийти|приехать|слот|вариант|"
        r"(?:на )?прием|час|сейчас|просто|всего|хорошего|доброго|всем|до свидания|напоминание|предложение|есть|у вас|скидка|скидку|"
        r"hi|hello|hey|please|pls|i|im|ill|me|we|you|the|it|is|for|to|in|on|at|would|be|a|an|can|come|do|my|so|much|very|and|will|time|appointment|us|just|want|id|like|"
        r"offer|message|see you|with"),
    ),
    ("word", r"[^\W_]+"),
    ("ask", r"\?"),
    ("stop", r"[,.;:!()\n—–-]"),
    ("mockery", "[😂🤣🙄😏🙃🤡💩🖕😡🤬😒😠]"),
)  # fmt: skip
_LETTER = re.compile(r"[^\W\d_]")
_SCANNER = re.compile(
    "|".join(
        rf"(?P<{kind}>{pattern})"
        if kind in {"word", "ask", "stop", "mockery", "named_staff", "named_service"}
        else rf"(?P<{kind}>(?<![^\W_])(?:{pattern})(?![^\W_]))"
        for kind, pattern in _PATTERNS
    )
)
# Common services by their lemma, for companies whose titles say it differently.
_SERVICE_LEMMAS = frozenset(
    {
        "стрижка", "борода", "ус", "усы", "окрашивание", "покраска", "краска", "укладка", "маникюр", "педикюр", "бровь", "ресница", "массаж",
        "чистка", "пилинг", "тренировка", "мелирование", "тонирование", "балаяж", "кератин", "ботокс", "шугаринг", "эпиляция", "депиляция",
        "ламинирование", "наращивание", "челка", "гель", "haircut", "beard", "color", "colour", "highlights", "blowout", "manicure",
        "pedicure", "massage", "brows", "lashes", "cleaning", "training",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Token:
    """One piece of a reply: what kind it is, its normalised text, and the lemmas where a dictionary was asked."""

    kind: str
    text: str
    lemmas: frozenset[str] = frozenset()


@functools.lru_cache(maxsize=4_096)
def title_lemmas(title: str) -> frozenset[str]:
    """Return the lemmas of the content words (three letters and more) of a service title or a name."""
    return frozenset(lemma for word in words_of(normalise(title)) if len(word) >= 3 for lemma in lemmas(word))


def scan(normalised: str, *, staff_names: Sequence[str], service_titles: Sequence[str]) -> list[Token]:
    """Split a normalised reply into tokens; names and titles found in it become `staff` and `service` tokens.

    A `staff` token's text is the full name as given; a `service` token carries lemmas to choose a title by.
    """
    text = normalised.translate({ord("§"): " ", ord("¤"): " "})
    text = re.sub(r"(?<=\d)-?(?:го|ого|е|ое|ому|му|й|ый|ая|th)(?![^\W_])", "", text)
    text = re.sub(r"(?<=[^\W\d_])-(?=[^\W\d_])", " ", text)
    text = _mark(text, staff_names, "§")
    text = _mark(text, service_titles, "¤")
    tokens: list[Token] = []
    for match in _SCANNER.finditer(text):
        kind, piece = str(match.lastgroup), match[0]
        if kind == "named_staff":
            tokens.append(Token("staff", staff_names[int(piece.strip("§"))]))
        elif kind == "named_service":
            title = service_titles[int(piece.strip("¤"))]
            tokens.append(Token("service", title, title_lemmas(title)))
        elif kind == "word":
            tokens.append(_open_word(piece, staff_names, service_titles))
        else:
            tokens.append(Token(kind, piece))
    return tokens


def _mark(text: str, titles: Sequence[str], sign: str) -> str:
    """Replace every title that stands in the text word for word by its number between two signs, longest titles first."""
    plain = {number: normalise(title) for number, title in enumerate(titles)}
    for number, title in sorted(plain.items(), key=lambda item: -len(item[1])):
        if title and _LETTER.search(title) and title in text:
            text = re.sub(rf"(?<![^\W_]){re.escape(title)}(?![^\W_])", f"{sign}{number}{sign}", text)
    return text


def _open_word(word: str, staff_names: Sequence[str], service_titles: Sequence[str]) -> Token:
    """Decide whether an unknown word is a form of one staff member's name, a word of a service, or unknown."""
    forms = lemmas(word)
    people = [name for name in dict.fromkeys(staff_names) if forms & title_lemmas(name)]
    if len(people) == 1:
        return Token("staff", people[0])
    if forms & _SERVICE_LEMMAS or (len(word) > 3 and any(forms & title_lemmas(title) for title in service_titles)):
        return Token("service", word, forms)
    return Token("word", word)
