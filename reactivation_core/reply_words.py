"""The words of a reply: one plain form for any spelling, and the fast check for "stop writing to me".

Here: normalisation (case, invisible characters, look-alike letters, spaced-out and stretched words) and the opt-out rules.
Keep out: everything that needs offered slots, dates or a dictionary; that is `replies`.

`is_clear_opt_out` runs inside the webhook's transaction, so it uses regular expressions over bounded text and nothing else.
"""

import re
import unicodedata

# WhatsApp carries 4,096 characters; whatever is longer was not typed by a person. The raw cut leaves room for invisible padding.
_RAW_LIMIT = 6_000
TEXT_LIMIT = 4_096

# Marks, joiners, direction signs, variation selectors, skin tones, gender signs: they change the look and not the meaning.
_INVISIBLE = re.compile(
    "[\u00ad\u0300-\u036f\u0483-\u0489\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u20d0-\u20ff\u2640\u2642\u3164\ufe00-\ufe0f\ufeff\uffa0\U0001f3fb-\U0001f3ff\U000e0000-\U000e0fff]"
)
_STOP_SIGNS = re.compile("[🛑⛔]")
_APOSTROPHES = re.compile("['’ʼ`´]")
_SPACES = re.compile(r"\s+")
_STRETCHED = re.compile(r"([^\W\d_])\1{2,}")
_SPACED_OUT = re.compile(r"(?<![^\W_])[^\W\d_](?:[ .,*_\-][^\W\d_](?![^\W_])){3,}")
_WORD = re.compile(r"[^\W_]+")
_NO_LETTER = re.compile(r"[\W\d_]+")
_ZERO_IN_WORD = re.compile(r"(?<=[^\W\d_])0(?=[^\W\d_])")
_LATIN, _CYRILLIC = re.compile("[a-z]"), re.compile("[а-я]")
_TO_CYRILLIC = str.maketrans("abceghikmnoprtuxy", "авседникмпоргтиху")
_TO_LATIN = str.maketrans("авсенкмортхуиѕі", "abcehkmoptxyusi")


def normalise(text: str) -> str:
    """Bring a reply to one plain form: lower case, "е" for "ё", single spaces, no invisible characters, no look-alikes.

    Punctuation and emoji stay, except that 🛑 and ⛔ become the word "стоп". Never raises. Bounded work: what lies
    behind the first few thousand characters is dropped.
    """
    plain = unicodedata.normalize("NFKC", text[:_RAW_LIMIT])[:_RAW_LIMIT].lower().replace("ё", "е")
    plain = _APOSTROPHES.sub("", _INVISIBLE.sub("", plain))[: TEXT_LIMIT + 1]
    plain = _STOP_SIGNS.sub(" стоп ", plain)
    plain = _SPACES.sub(" ", plain).strip()
    plain = _SPACED_OUT.sub(lambda match: _NO_LETTER.sub("", match[0]), plain)
    plain = _ZERO_IN_WORD.sub("о", plain)
    if _LATIN.search(plain) and _CYRILLIC.search(plain):
        plain = _WORD.sub(_one_alphabet, plain)
    return _STRETCHED.sub(r"\1", plain)


def _one_alphabet(match: re.Match[str]) -> str:
    """Rewrite a word of mixed alphabets in one of them, if every letter has a twin there."""
    word = match[0]
    if not (_LATIN.search(word) and _CYRILLIC.search(word)):
        return word
    cyrillic = word.translate(_TO_CYRILLIC)
    if not _LATIN.search(cyrillic):
        return cyrillic
    latin = word.translate(_TO_LATIN)
    return word if _CYRILLIC.search(latin) else latin


def words_of(normalised: str) -> list[str]:
    """Return the words and numbers of a normalised text, in order."""
    return _WORD.findall(normalised)


_WRITE = (
    r"(?:пиши|пишите|писать|писала?|писали|звони|звоните|звонить|присылай|присылайте|присылать|шли|шлите|слать|"
    r"отправляй|отправляйте|отправлять|беспокой|беспокойте|беспокоить|тревожь|тревожьте|тревожить|спамь|спамьте|спамить|"
    r"рассылай|рассылайте|рассылать)"
)
_BETWEEN = (
    r"(?:(?:мне|нам|меня|нас|сюда|больше|уже|вообще|никогда|вы|мой|пожалуйста|ничего|свою|ваши?|вашу|этот|все|из) )"
)
_STRONG = re.compile(
    r"(?<!\w)(?:"
    rf"(?:больше |никогда )*не {_BETWEEN}{{0,3}}(?:(?:надо|нужно|стоит|смейте|вздумайте) )?{_BETWEEN}{{0,3}}{_WRITE}(?: и не {_WRITE})?"
    rf"|(?:хватит|прекратите|прекрати|перестаньте|перестань|кончайте|довольно) {_BETWEEN}{{0,3}}(?:{_WRITE}|рассылк\w+|рекламу|спам)"
    rf"|не (?:хочу|желаю|хотим) {_BETWEEN}{{0,3}}(?:получать|видеть|читать)(?: (?:от вас|ваши|вашу|эти|эту|такие|рекламные)){{0,3}} "
    r"(?:сообщени\w+|рассылк\w+|смс|реклам\w+|спам)"
    rf"|не (?:хочу|желаю) чтобы (?:вы )?{_BETWEEN}{{0,2}}писали"
    r"|отпиши|отпишите|отпишитесь|отписаться|отписываюсь"
    rf"|(?:удали|удалите|удалить|убери|уберите|убрать|сотри|сотрите|исключи|исключите|вычеркни|вычеркните) {_BETWEEN}{{0,4}}"
    r"(?:меня|нас|номер\w*|телефон\w*|контакт\w*|данные|рассылк\w+|базы|списка)(?: телефона)?(?: (?:из|с) (?:вашей |этой |всех )?(?:рассылк\w+|базы|списк\w+))?"
    r"|(?:уберите|исключите|удалите) из (?:рассылки|базы|списка)"
    r"|отстань|отстаньте|отвяжись|отвяжитесь|отвали|отвалите|оставьте (?:меня|нас) в покое"
    r"|(?:иди|идите|пошли|пошел|пошла) (?:вы )?(?:на хуй|нахуй|на хер|нахер|на фиг|нафиг|в жопу|лесом)"
    r"|(?:dont|do not|never|please dont) (?:ever )?(?:write|text|message|contact|call|email|bother|spam|send)"
    r"(?: (?:to me|me|us))?(?: (?:any ?more|again|ever|messages|texts|anything))*"
    r"|stop (?:texting|messaging|writing|sending|contacting|bothering|spamming|calling)(?: (?:to )?(?:me|us|messages|texts))*"
    r"|(?:remove|take|delete) (?:me|my number|this number|my phone)(?: (?:from|off) (?:your |the |this )?(?:list|database|mailing))?"
    r"|unsubscribe(?: me)?|opt ?out|leave me alone|fuck off|go away|no more (?:messages|texts)"
    r")(?!\w)"
)
_DEFINITE = re.compile(r"(?<!\w)(?:больше|никогда|ever|never|any ?more|again)(?!\w)")
_WEAK = re.compile(
    r"(?<!\w)(?:стоп|стопе|stop|stopall|quit|хватит|спам|спамеры|спамите|spam|достали|надоели|задолбали|"
    r"(?:мне |это |нам )?больше не (?:надо|нужно|пригодится)|не (?:надо|нужно) больше)(?!\w)"
)
# What may stand beside a stop word without adding anything of its own.
_COURTESY = (
    "и да нет ну все уже же вы вас ваш ваша ваши вашу ваших ко мне меня нам нас мой моя я это эта этот эту этой опять снова "
    "пожалуйста плиз просто больше вообще никогда сюда сейчас так спасибо до свидания здравствуйте привет добрый "
    "день вечер утро от с со в во на из по рассылка рассылки рассылку рассылок реклама рекламу рекламы сообщения сообщений "
    "сообщение смс sms писать номер телефон прошу требую срочно немедленно раз всем а "
    "please me us you your no yes ok thanks thank now it this the to from messages message texts texting sms list i and just"
)
_FILLERS = frozenset(_COURTESY.split())
_REFUSAL = re.compile(r"(?<!\w)не (?:надо|нужно|хочу|интересно|интересует)(?!\w)|(?<!\w)not (?:interested|now)(?!\w)")
# An alternative or a time beside a strong phrase: the client sets terms and does not leave for good.
_TERMS = re.compile(
    r"(?<!\w)(?:до|после|через|утр\w+|вечер\w+|днем|ноч\w+|рано|поздно|выходн\w+|почему|зачем|рабоч\w+|today|tomorrow|until|before|after|why)(?!\w)"
)
_ALTERNATIVE = re.compile(
    r"(?<!\w)(?:пока|лучше|но|только|если|когда|чтобы|чтоб|звони|звоните|позвоните|пишите|напишите|можно|зато|завтра|сегодня|"
    r"if|but|when|unless|better|only|instead|call|email)(?!\w)"
)
_NEGATED_BEFORE = re.compile(
    r"(?<!\w)(?:не|ни|если|когда|почему|зачем|dont|not|if|why|when)(?: (?:вы|мы|я|you|we|i))?$"
)


def is_clear_opt_out(text: str) -> bool:
    """Tell whether a reply asks, beyond doubt, not to be written to again.

    A stop word counts when nothing but courtesy stands beside it ("стоп!!!", "хватит уже"). An explicit request ("не пишите
    мне", "удалите мой номер", "unsubscribe") counts inside a longer text too, unless that text sets terms ("не пишите утром,
    лучше вечером") or asks ("почему вы мне не пишите?"). Rules only, no dictionary, bounded time.
    """
    normalised = normalise(text)
    if not normalised or len(normalised) > TEXT_LIMIT:
        return False
    plain = " ".join(words_of(normalised))
    rest = _WEAK.sub(" ", _STRONG.sub(" ", plain))
    if rest != plain and _FILLERS.issuperset(_REFUSAL.sub(" ", rest).split()):
        return True
    match = _STRONG.search(plain)
    if match is None or "?" in normalised or _NEGATED_BEFORE.search(plain[: match.start()].rstrip()):
        return False
    rest = plain[: match.start()] + plain[match.end() :]
    return not _TERMS.search(rest) and bool(_DEFINITE.search(match[0]) or not _ALTERNATIVE.search(rest))
