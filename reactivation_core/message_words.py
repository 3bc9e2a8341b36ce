"""The vocabulary by which messages and names are judged: what a message must not say, word for word.

What to add here: a word or a phrase. What to keep out: how it is looked for (`message_rules`, `message_names`).
Sets hold dictionary forms; patterns are matched anywhere, without regard to case.
"""

import re
from collections.abc import Mapping
from typing import Final

_ANY_CASE = re.IGNORECASE


def _stems(*stems: str) -> re.Pattern[str]:
    """A pattern that finds words by their beginnings."""
    return re.compile(rf"(?<!\w)(?:{'|'.join(stems)})\w*", _ANY_CASE)


def set_of(text: str) -> frozenset[str]:
    """The words of a line."""
    return frozenset(text.split())


# ---------------------------------------------------------------- what no message says, by rule

BANNED: Final = re.compile(
    r"(?<!\w)(?:реактивац\w*|вернуть (?:вас|тебя)|верн[её]м вас|извин\w*|прости(?:те)?(?!\w)|прощени\w*|сожале\w*|виноват\w*|неудобств\w*"
    r"|sorry|apolog\w*|reactivat\w*|(?:win|get|want|have) you back|inconvenience)",
    _ANY_CASE,
)
PRESSURE: Final = re.compile(
    r"скуча\w*|соскуч\w*|(?<!\w)жд[её]м|не хватает|последн\w+ (?:шанс|возможност|мест)\w*|только сегодня|успе(?:йте|ть)\w*|торопи\w*|спешите"
    r"|не упустите|срочно|пока не поздно|оста(?:лось|лись|ются|ётся) (?:мало|немного|совсем|всего|считан)\w*|miss(?:ed|ing)? you|last chance|hurry|don.t miss|urgent|limited time|act now",
    _ANY_CASE,
)
HARD_PRESSURE: Final = re.compile(
    r"последн\w+ (?:шанс|возможност|мест)\w*|только сегодня|успе(?:йте|ть)|торопи\w*|спешите|не упустите|срочно|пока не поздно|оста(?:лось|лись|ются|ётся) (?:мало|немного|совсем|всего|считан)\w*"
    r"|прямо сейчас|сейчас же|ответ\w* (?:\w+ )?сейчас|(?<!\w)поздно|(?<!\w)(?:мало|почти) (?:\w+ )?(?:мест|окошек|окон|времени)|(?:мест|окошек|окон|времени) (?:\w+ )?(?:мало|не хватает)"
    r"|желающ\w*|(?<!\w)надо(?!\w)|ответ (?:\w+ )?нуж\w*|нуж\w+ (?:\w+ )?ответ|снова и снова|последн\w+ раз (?:\w+ )?(?:пиш|предлаг|зов|приглаш|напомин)\w*|(?:пишем|напоминаем|предлагаем|приглашаем) (?:\w+ ){0,2}последн\w*|так долго"
    r"|\b(?:come|reply|book|visit|answer|right|back|say|decide) now|now or|\bonly\b|\bfew\b|\bleft\b|\bfast\b|too long|\bmust\b|you (?:should|have to|need|will)|(?<!if you )\bneed\b|\bwant\b(?! (?:to|us to))|\bgoing\b"
    r"|(?<!since your )(?<!since our )(?<!since the )(?<!your )(?<!we )(?<!you )\blast\b(?! (?:saw|came|visited|met|here|visit|appointment|session))|last (?:time(?! (?:we|you))|reminder|note|message)"
    r"|все (?:уже |давно )?(?:запис|приш)\w*|в последний раз пиш\w*|last chance|hurry|don.t miss|urgent|limited time|act now",
    _ANY_CASE,
)
"""Pressure that no stage allows; a gentle message may not even be impatient (`PRESSURE`)."""

PRICE: Final = re.compile(
    r"[₽$€£¥₸]|(?<!\w)(?:руб(?:л\w*|\.)?|тенге|доллар\w*|евро|копе[ей]\w*|цен(?:а|ы|е|у|ой|ою|ам|ами|ах|ник\w*)?|прайс\w*|стоимост\w*|сто(?:ит|ят|ило|ить)"
    r"|подорож\w*|дёшев\w*|дешев\w*|дороже|недорог\w*|оплат\w*|плат(?:ы|а|у|ить|ите|но|ный|ная|ное|ные)|заплат\w*|тысяч\w*|тыщ\w*|сумм\w*|тариф\w*"
    r"|price\w*|cost\w*|cheap\w*|pay(?:s|ment|ments|ing)?|dollars?|roubles?|rubles?|euros?|fee|fees|bucks)(?!\w)",
    _ANY_CASE,
)
OFFER: Final = re.compile(
    r"(?<!\w)(?:бесплатн\w*|даром|бонус\w*|кешб[еэ]к\w*|кэшб[еэ]к\w*|подар\w*|сюрприз\w*|сертификат\w*|акци[яеиюй]\w*|розыгрыш\w*|приз(?:ы|а|у|ом|ов)?"
    r"|купон\w*|промокод\w*|абонемент\w*|распродаж\w*|выигр\w*|лотере\w*|комплимент\w* от|за (?:наш|мой|свой) сч[её]т|халяв\w*|безвозмездн\w*|на вс[её](?! (?:равно|же))(?!\w)|на кажд\w+|люб(?:ое|ой|ая|ые) (?:врем|день|момент|услуг|процедур|визит)\w*|на люб(?:ую|ые|ой)(?!\w)"
    r"|(?<!как )только(?!\w)|кое-\w+|нечто|что-то|чем-то|чего-то|что-нибудь|на (?:\w+ )?(?:услуги|процедуры|визиты|посещения)|дар(?:им|ит|ят|ить|ите)(?! (?:\w+ )?скидк)"
    r"|получ(?:ите|ить|аете|им)(?! (?:\w+ )?скид)|с гост\w+|эксклюзив\w*|выгод\w*|потрат\w*|льгот\w*|рассрочк\w*|кредит\w*|спецпредложени\w*|специальн\w+ (?:услови|предложени|цен)\w*"
    r"|free of charge|for free|free (?:\w+ )?(?:gift|cut|haircut|treatment|session|visit|coffee)|complimentary|bonus\w*|gifts?|cashback"
    r"|coupons?|vouchers?|promo\w*|giveaway\w*|prizes?|lottery|special|deals?|on the house|on us|sale"
    r"|(?:an?|the|our|another|this|great|best|more|good|perfect|lovely) offers?|something|treat(?! (?:your|for yourself))|treats"
    r"|(?:visit|service|session|styling|treatment|it|all|everything)s? (?:is|are) free|(?<!you )(?<!you're )free(?!:|\s\s| (?:times?|spots?|slots?|openings?|chairs?|moments?|appointments?))"
    r"|(?:all|every|another|any|each|other|both) (?:\w+ )?(?:visit|service|treatment|session|styling|style|appointment)s?|(?:is|are) off)(?!\w)",
    _ANY_CASE,
)
DISCOUNT: Final = re.compile(r"скид\w*|дисконт\w*|discount\w*|% ?off|%|percent\w*|процент\w*|дешевле", _ANY_CASE)
GUARANTEE: Final = re.compile(
    r"гаранти\w*|гарантир\w*|(?<!\w)всем (?:\w+ )?нрав\w*|(?<!\w)обеща\w*|обязуем\w*|ручаем\w*|стопроцентн\w*|несомненн\w*|навсегда|раз и навсегда|лучш(?:ий|ая|ее|ие|их|ими|им|ую|ей)(?!\w)"
    r"|лучше(?!\w)|сам(?:ый|ая|ую|ой|ые|ых|ым|ыми)(?!\w)|номер один|без (?:риск|осложнени|побочн|бол(?:и|ей))\w*|безболезн\w*|безопасн\w*"
    r"|надолго|на долг\w+|(?:да[её]т|дают) (?:\w+ )?(?:сил|энерг|тонус|блеск|сияни|свежест|л[её]гкост)\w*"
    r"|\balways\b(?! welcome)|\bever\b(?! since)|we(?:'re| are) (?:\w+ )?(?:great|perfect|good|wonderful|expert|experts)|make you|perfect (?:skin|hair|smile|style|look|shape)|you(?:'ll| will)? (?:look|shine|feel)"
    r"|(?:skin|hair|smile|style|self) (?:will|needs?|wants?|looks?|feels?|should|could|is|has|shines?)|(?<!works )(?<!suits )(?<!you )\bbest(?! (?:wishes|time))"
    r"|guarante\w*|promis\w*|forever|risk.free|the best|number one|no risk|side.effect\w*",
    _ANY_CASE,
)
MEDICAL: Final = re.compile(
    r"(?<!\w)(?:выле[чк]\w*|изле[чк]\w*|исцел\w*|лечебн\w*|леч(?:ит|ат|им|ить)(?!\w)|избав\w*|безболезн\w*|без боли|боле(?:ть|знь|зни|зней|знями|знях|ет|ит)(?!\w)"
    r"|омолож\w*|омолод\w*|молож(?:е|ав)\w*|похуд\w*|диагноз\w*|диагност\w*|противопоказ\w*|медицинск\w*|терапевт\w*|терапи\w*|здоров(?:ье|ья|ью|ьем|ее|ый|ая|ые|ую)(?!\w)"
    r"|иммунитет\w*|рак(?:а|ом|у)?(?!\w)|онколог\w*|инфекц\w*|рецепт\w*|лекарств\w*|симптом\w*|беремен\w*|анализ\w*|медик\w*"
    r"|cure[sd]?|heal(?:s|ed|ing)?|painless\w*|pain.free|without pain|rejuvenat\w*|lose weight|diagnos\w*|medical\w*|therap\w*|disease\w*|younger)",
    _ANY_CASE,
)
MACHINE: Final = re.compile(
    r"(?<!\w)(?:ии(?!\w)|искусственн\w+|интеллект\w*|нейро\w*|бот(?:а|ом|у|ы|ов|е)?(?!\w)|чат-?бот\w*|робот\w*|автоматическ\w*|автоматизир\w*|алгоритм\w*"
    r"|языков\w+ модел\w*|модел(?:ь|и|ью|ей)(?!\w)|ассистент\w*|систем\w*|сгенерир\w*|генерац\w*|рассылк\w*|шаблон\w*"
    r"|сообщени\w+ для|для клиент\w*|вариант\w* (?:ответ|сообщени)\w*|(?:message|note|answer|reply)s? (?:is|was|are|has|for (?:the|a|our)|ready|done|made)"
    r"|промпт\w*|инструкц\w*|запрос\w*|задани\w*|плейсхолдер\w*|подстав\w*|скобк\w*|json|обучен\w+ на"
    r"|a\.?i\.?(?!\w)|artificial|gpt\w*|chatgpt|gemini|google|llm|language model|neural\w*|bot(?:s)?(?!\w)|chatbot\w*|robot\w*|automat\w*|algorithm\w*"
    r"|generated|assistant|mailing|newsletter|template\w*|prompt\w*|instruction\w*|placeholder\w*|system)",
    _ANY_CASE,
)
OTHER_SALON: Final = re.compile(
    r"(?<!\w)(?:конкурент\w*|(?:друг|ин|сосед)\w+ (?:салон|мастер|барбер|тренер|доктор|стилист|барбершоп|клиник|студи|зал|заведени|специалист|врач|филиал)\w*|филиал\w*|франшиз\w*"
    r"|партн[её]р\w*|наш\w* нов\w+ (?:салон|адрес|студи)\w*|переехал\w*|адрес\w*|улиц\w*|проспект\w*|метро"
    r"|competitor\w*|(?:another|other|different) (?:salon|barber|barbershop|clinic|studio|gym|stylist|place)\w*|branch\w*|franchise|partners?|new address)",
    _ANY_CASE,
)
OWN_OPT_OUT: Final = re.compile(
    r"(?<!\w)(?:отпи[сш]\w*|отказаться от|если (?:вы )?не (?:хо|жел|интерес|нужн|над|план)\w*|не хотите (?:сообщ|получ)\w*|(?:ответьте|напишите|отправьте) (?:«?стоп|нет)\w*|стоп(?!\w)|unsubscribe|opt.?out|stop(?! by)(?!\w))",
    _ANY_CASE,
)
ALONE: Final = set_of("я мой")
ENGLISH_ALONE: Final = set_of("i i'm i'll i'd i've me my mine")
"""A salon speaks as "мы": nobody in particular writes."""

BOOKED: Final = re.compile(
    r"(?<!\w)(?:записан[ыоа]?|записали|забронирован[оыа]?|забронировали|(?<!записать )за вами(?! запис)|держим|ваш\w* (?:запись|записи|место|бронь|время)|для вас (?:\w+ )?(?:запись|бронь)"
    r"|подтверд\w+ (?:ваш\w* |сво\w* )?(?:визит|запис|при[её]м|брон|посещени|встреч)\w*|подтвержден[оыа]?|подтверждён|у вас (?:уже )?(?:есть |стоит )?запись|не забудьте"
    r"|напоминаем о (?:записи|визите|вашей записи|вашем визите|при[её]ме)|состоится|(?:everyone|all|almost|nearly|fully|already|is|are|you're|we're|has|have) (?:already )?booked"
    r"|(?:spot|slot|place|time|chair|appointment|visit|session)s? (?:(?:is|are|has been|have been) (?:\w+ )?(?:saved|held|kept|reserved|scheduled|confirmed|yours|waiting))"
    r"|(?:saved|held|kept|reserved|booked|scheduled|keep|hold|save) (?:you|an?|your|the)|already booked|is confirmed"
    r"|don.t forget|reminder of your)(?!\w)",
    _ANY_CASE,
)
"""Words that say there is an appointment, where there is none."""

FAMILIAR: Final = frozenset({"ты", "твой", "дорогой", "уважаемый", "милый", "красавица", "красавец", "красотка", "зая", "солнышко",
                             "дружище", "брат", "братан", "бро", "чувак", "подруга", "подружка", "девочка", "малышка", "господин", "госпожа"})  # fmt: skip
"""Lemmas of an address that is too near, too stiff, or knows a gender that we do not."""

LINK: Final = re.compile(
    r"\S*(?:://|www\.|@)\S*|\S+\.(?:ru|com|рф|net|org|me|info|su|io|kz|by|ua|app|online|site|shop|link|ly|cc|biz|pro|club)(?:/\S*)?(?![\w])"
    r"|(?<!\w)(?:ссылк\w*|сайт\w*|инстаграм\w*|телеграм\w*|ватсап\w*|вотсап\w*|вайбер\w*|instagram|telegram|whatsapp|viber|t\.me|link\b|website|click)",
    _ANY_CASE,
)
PHONE: Final = re.compile(
    r"(?<!\w)(?:телефон\w*|номер\w*|позвон\w*|звоните|перезвон\w*|call (?:us|me|back)|phone\w*|number)(?!\w)", _ANY_CASE
)
PREAMBLE: Final = re.compile(
    r"^\W*(?:конечно(?!\w)|разумеется|безусловно|вот (?:ваш\w*|текст|сообщени\w*|вариант\w*|пример|готов\w*|что)|готово|сообщение(?: для клиента)?[:\s]|текст[:\s]"
    r"|вариант\w*(?:\s*\d|:)|ответ:|тема:|пример:|привет, вот|хорошо,|ок[,!. ]|понял\w*|я (?:понял|подготов|напис|состав|не мог)\w*|как (?:ии|языков)\w*"
    r"|к сожалению|here (?:is|are|you)|here's|sure[,!.]|certainly|of course|okay|ok,|message:|text:|subject:|as an|i (?:can|have|cannot|can't)|option \d)",
    _ANY_CASE,
)
TRAILER: Final = re.compile(
    r"(?:надеюсь|ещ[её] (?:один )?вариант|друг\w+ вариант|вариант\w* (?:текста|сообщения)|если нужно|могу (?:изменить|сократить|предложить)|дайте знать|длина|символ\w*|количество|(?:ответ|сообщение|слово|план|текст) готов\w*|примечани\w*|p\.?\s?s\.?(?!\w)|постскриптум"
    r"|(?:вот|это) (?:ваш\w* |сам\w* )?(?:сообщение|текст)|here is (?:your|the|a) (?:message|text)|message:|сообщение:|let me know|hope this|feel free|characters?\b|note:)",
    _ANY_CASE,
)
CALL: Final = re.compile(r"запи[сш]\w*|оформ\w*|подтверд\w*|заброни\w*|\bbook\w*|reserve", _ANY_CASE)
CALL_WITHIN: Final = 60  # last characters, in which a message asks the client to book

EMOJI: Final = frozenset("😊🙂😉🤗😌☺✨🌿🌸💫💛🤍❤🧡💚💙💜🌷🌼🌺🌹🍀☀🌞⭐🌟👋🙌👌✌😎💈✂📅📋🗓💅💆💇🦷💪🏋🧘🎉🤝")
"""Warm and harmless ones; any other picture may say something else to somebody."""

# ---------------------------------------------------------------- Russian words by lemma

NUMBER_WORDS: Final = set_of(
    "полтора пол половина четверть треть пара пару пол-цены полцены вдвое втрое дважды трижды двойной тройной десяток дюжина сотня тысяча миллион"
    " процент проценты двое трое четверо пятеро оба обе ноль нуль удвоить вдвоём втроём"
)
TIME_WORDS: Final = set_of(
    "сегодня завтра послезавтра вчера позавчера понедельник вторник среда четверг пятница суббота воскресенье январь февраль март апрель май июнь июль"
    " август сентябрь октябрь ноябрь декабрь утро вечер ночь полдень полночь неделя неделька месяц год лето осень зима весна сезон час часок минута"
    " выходной будний выходные будни праздник каникулы отпуск полгода квартал сутки нынче сегодняшний завтрашний утренний вечерний дневной ночной"
    " ежедневно еженедельно недавно"
)
"""A message's only times are its slots and the time since the last visit, which we fill in."""

ENGLISH_TIMES: Final = set_of(
    "today tomorrow yesterday tonight monday tuesday wednesday thursday friday saturday sunday january february march april june july august"
    " september october november december morning afternoon evening week weeks weekend month months year years hour hours minute minutes day days"
    " spring summer autumn winter one two three four five six seven eight nine ten dozen half couple"
)

SERVICE_STEMS: Final = re.compile(
    r"(?<!\w)(?:стриж|подстри|подстриг|постриг|остри[гч]|окраш|покрас|колорир|мелир|тонир|балаяж|омбре|шатуш|блонд|укладк|причёс|причес|брит|бор[оа]д|усы(?!\w)|усов(?!\w)|окантовк|камуфляж"
    r"|маникюр|педикюр|ногт|ногот|гель|покрыти|наращ|шеллак|массаж|обёртыван|обертыван|пилинг|чистк|скраб|маск[аиуе]|мезотерап|биоревит|ботокс|филлер"
    r"|эпиляц|депиляц|шугаринг|воск(?:ов\w*|ом|а|у)?(?!\w)|лазер|бров|ресниц|ламинир|ламинац|тату|пирсинг|перманент|макияж|визаж|кератин|выпрямлен|завивк|загар|солярий|спа(?!\w)|сауна|бан[яи]"
    r"|лечени|отбелив|имплант|брекет|пломб|кариес|коронк|протез|виниры|гигиен|осмотр|консультац|рентген|удалени"
    r"|тренир|йог[аиу]|пилатес|растяжк|стретчинг|кроссфит|зумб|плавани|бассейн|бокс(?!ёр)|танц|аэробик"
    r"|haircut|shav|beard|colour|color|highlight|balayage|manicure|pedicure|nails?(?!\w)|massage|facial|peel|wax(?:ing)?(?!\w)|brows?(?!\w)|lash(?:es)?(?!\w)|tattoo|makeup|keratin|botox"
    r"|whitening|cleaning|implant|braces|filling|checkup|training|workout|yoga|pilates|stretching|boxing)\w*",
    _ANY_CASE,
)
"""Beginnings of words that name a service: a message names none but the one that is due."""

BUSINESS_SERVICES: Final[Mapping[str, re.Pattern[str]]] = {
    "beauty": _stems("процедур"),
    "barbershop": _stems("стриж", "подстри", "haircut"),
    "dental": _stems("осмотр"),
    "fitness": _stems("тренир", "training", "workout"),
    "other": _stems("процедур"),
}
"""What a kind of business may call its visits, whatever the service."""

NOUNS: Final = set_of(
    # the appointment
    "визит запись время окошко окно место встреча раз пора момент случай повод вариант возможность график расписание план бронь приём посещение"
    " сеанс услуга процедура скидка предложение день процент"
    # people and places of the trade
    " мастер барбер врач доктор тренер специалист стилист администратор команда салон барбершоп клиника студия зал кабинет кресло дверь гость клиент"
    # what it is good for
    " образ стиль настроение красота уход забота внимание радость удовольствие отдых комфорт уют тепло свежесть лёгкость блеск форма сияние вид"
    " улыбка тонус энергия сила прогресс цель ритм привычка движение волос волосы рука порядок обновление преображение"
    # politeness and small words
    " привет слово сообщение ответ вопрос желание выбор удобство доверие связь начало продолжение шаг путь пауза перерыв"
    " напоминание подтверждение новость уважение минутка секунда сердце душа спасибо здравствуйте добро благодарность плюс"
)
"""The things that a message may speak of, besides the service that is due: a made-up offer or claim needs a noun that is not among them."""

TITLE_NOUNS: Final = set_of("женщина мужчина комплекс зона объём длина уровень категория тип топ программа")
"""What titles of services hold besides the service itself: no message is judged by them."""

VERBS: Final = set_of(
    # coming, meeting, booking
    "быть бывать есть видеть увидеть видеться увидеться виднеться встретить встречать встретиться встречаться ждать ожидать прийти приходить зайти"
    " заходить заглянуть заглядывать забежать забегать приехать приезжать посетить посещать вернуться возвращаться повторить повторять продолжить"
    " продолжать начать начинать записать записывать записаться записываться оформить оформлять подтвердить подтверждать забронировать бронировать"
    " выбрать выбирать подобрать подбирать подойти подходить найти найтись находиться запланировать планировать согласовать договориться назначить"
    # speaking
    " ответить отвечать написать писать сказать подсказать напомнить напоминать пригласить приглашать позвать звать предложить предлагать"
    " рекомендовать порекомендовать советовать посоветовать заметить замечать пожелать желать благодарить поблагодарить поздороваться приветствовать пообщаться подумать"
    # wishing and feeling
    " хотеть захотеть хотеться захотеться мочь смочь нравиться понравиться соскучиться скучать радоваться порадовать радовать побаловать баловать"
    " надеяться ценить помнить вспомнить вспоминать знать думать чувствовать почувствовать доверить доверять казаться показаться хватать"
    # time and what is free
    " пройти проходить пролететь лететь миновать освободиться появиться иметься оказаться откладывать отложить исправить"
    # what is done for a client
    " принять принимать работать дарить держать ловить действовать сделать делать приготовить подготовить уделить уделять заботиться позаботиться"
    " помочь выделить дать давать получить получать воспользоваться пользоваться дополнить насладиться наслаждаться"
    # what a client may do
    " обновить обновлять обновиться освежить освежать освежиться отдохнуть отдыхать расслабиться устроить провести решить решать попробовать"
    " посвятить преобразиться перевести позволить позволять отрасти вырасти"
    # the trades
    " стричься подстричься подстричь постричься постричь потренироваться тренироваться заниматься позаниматься ухаживать"
)
"""What a message may say that somebody does."""

_COMING = set_of(
    "бывать приходить прийти заходить зайти заглядывать заглянуть забежать забегать приезжать приехать посещать посетить"
    " записываться записаться встречаться встретиться видеться увидеться стричься тренироваться заниматься возвращаться вернуться"
)
_SEEING = set_of("видеть увидеть встретить встречать принять принимать пригласить приглашать ждать")
HAPPENED: Final = (
    _COMING
    | _SEEING
    | set_of(
        "быть заметить помнить вспомнить вспоминать соскучиться скучать пройти проходить пролететь лететь миновать освободиться появиться найтись"
        " подготовить приготовить подобрать найти выбрать решить хотеть хотеться захотеться понравиться нравиться отрасти радовать отложить откладывать"
        " начать планировать запланировать думать"
    )
)
"""What a message may say that has happened, beside the visit; anything else would be made up ("сменили", "открыли", "писали")."""
OTHERS_DO: Final = set_of(
    "ждать принимать приглашать действовать быть лететь работать мочь хотеться подходить нравиться проходить хватать находиться бывать радовать встречать"
    " предлагать иметься казаться позволять"
)
"""What somebody else, or a thing, may do now: a service that "gives" or "helps" is a claim."""
OTHERS_WILL: Final = set_of(
    "принять встретить подойти найтись сделать дополнить порадовать устроить смочь провести захотеться понравиться пригласить подобрать подсказать оказаться"
)
WE_DO: Final = set_of(
    "ждать приглашать предлагать напоминать помнить ценить хотеть мочь надеяться благодарить скучать советовать рекомендовать работать принимать"
    " записывать подбирать желать дарить радоваться ожидать звать встречать быть дать давать бронировать оформлять вспоминать находиться заботиться замечать"
)
WE_WILL: Final = set_of(
    "записать подобрать найти оформить встретиться увидеться увидеть выбрать забронировать договориться согласовать подготовить устроить уделить"
    " позаботиться помочь порадовать повторить продолжить сделать напомнить подсказать предложить ответить освежить обновить начать принять встретить"
    " запланировать назначить побаловать провести смочь решить исправить рассчитать рекомендовать"
)

QUALITIES: Final = set_of(
    "новый свободный удобный любимый ближний ближайший прошлый последний следующий приятный хороший добрый тёплый уютный красивый свежий лёгкий отличный"
    " прекрасный замечательный подходящий привычный обычный небольшой маленький короткий быстрый личный особенный долгий давний счастливый"
    " внимательный заботливый знакомый стильный аккуратный яркий нежный мягкий спокойный бодрый активный долгожданный удачный нужный желанный скорый"
    " рад рада радый готовый возможный знакомый весёлый светлый душевный искренний простой"
)
"""What a message may call things."""

ADVERBS: Final = set_of(
    "назад давно давненько уже ещё снова опять вновь скоро сейчас потом иногда часто рядом вместе удобно приятно легко просто быстро немного немножко"
    " очень так как когда где тут здесь туда сюда хорошо отлично замечательно прекрасно тепло красиво спокойно кстати возможно можно нужно совсем"
    " именно прямо сразу заранее почти лично искренне наконец итак также тоже привычно неспешно по-прежнему по-настоящему немало много мало обратно"
    " точно конечно пожалуй ещё-ка с радостью пора видимо вроде сколько столько насколько обычно интересно незаметно действительно поэтому"
)
"""How a message may say it."""

COMPARATIVES: Final = set_of(
    "проще ближе раньше скорее больше позже чаще удобнее легче теплее приятнее быстрее свежее ярче"
)
INTERJECTIONS: Final = set_of("привет здравствуйте спасибо пожалуйста ура ну ага эй ой давайте")
STATES: Final = set_of("можно нужно пора")
FREE_KINDS: Final = frozenset({"PREP", "CONJ", "PRCL", "NPRO", "Apro", "NUMR"})
"""Kinds of words that say nothing of their own; numbers have a rule of theirs."""

INVITATIONS: Final = set_of(
    "приходить прийти заходить зайти заглядывать заглянуть забежать забегать записываться записаться выбирать выбрать приезжать приехать писать написать"
    " отвечать ответить подтверждать подтвердить дать давать позволить позволять сказать подсказать порадовать радовать побаловать баловать обновить"
    " освежить возвращаться вернуться продолжать продолжить найти решать решить ловить держать пользоваться воспользоваться отдохнуть отдыхать"
    " расслабиться насладиться наслаждаться доверить довериться попробовать пробовать смотреть посмотреть знать быть помнить представить представлять"
    " вспомнить устроить подарить уделить начать начинать забронировать бронировать оформить здравствовать запланировать планировать назвать хотеть захотеть мочь"
)
"""What a message may ask a client to do; any other order may be anything."""

YOU_MAY: Final = INVITATIONS | set_of("мочь смочь бывать думать получить получать быть ценить")
"""What a message may say of the client's own doings."""

WILL_BE: Final = re.compile(
    r"(?<!\w)(?:рад|счастлив)\w* (?:\w+ )?будем|(?<!\w)буд(?:ем (?:\w+ )?(?:рад|ждать|счастлив|признательн)\w*|ет (?:\w+ )?(?:удобн|приятн|комфортн|интересн|рад)\w*|ете (?:\w+ )?(?:рядом|свободны|готовы))",
    _ANY_CASE,
)
"""The only future with "быть" that is no promise."""
FLATTERY: Final = re.compile(
    r"(?<!\w)(?:вы|ваш\w* (?:улыбк|рук|волос)\w*) (?:\w+ ){0,2}(?:прекрасн|красив|замечательн|особенн|светл|стильн|ярк|счастлив)\w*"
    r"|у вас (?:\w+ )?(?:прекрасн|красив|замечательн|стильн|ярк)\w*|you(?:'re| are) (?:\w+ )?(?:beautiful|lovely|perfect|great|special|wonderful)|нравитесь",
    _ANY_CASE,
)
"""What is said of the client's looks."""
NEWS: Final = re.compile(
    r"(?<!\w)нов\w+ (?:мест|салон|барбершоп|клиник|студи|зал|кабинет|кресл|мастер|барбер|врач|доктор|тренер|специалист|стилист|администратор|команд|услуг|процедур|график|расписани"
    r"|предложени|скидк|имя|двер)\w*|(?<!\w)появил\w+ (?:\w+ )?(?:услуг|процедур|мастер|барбер|врач|доктор|тренер|специалист|скидк|предложени)\w*"
    r"|мы (?:\w+ )?снова (?:работаем|принимаем)|\bnew (?!look|style|visit|appointment|time|moment)\w+",
    _ANY_CASE,
)
DENIED: Final = set_of(
    "виделись видели видели видеться были было бывали бывал заходили заглядывали заглянули зашли забегали приходили приезжали посещали записывались встречались"
    " стриглись тренировались занимались откладывайте откладывать подходит подойдёт подойдет подходят против посетить зайти заглянуть прийти записаться встретиться"
    " увидеться повторить хватает"
)
"""The words after a "не" that say no more than that a client was away, or leave a choice ("почему бы не зайти")."""
NEGATIONS: Final = re.compile(
    r"(?<!\w)(?:нет|ни|никто|никак\w*|никогда|нигде|ничего|ничто|ничем|некому|нечего|некогда|без(?! (?:вас(?!\w)|стриж|тренир)))(?!\w)",
    _ANY_CASE,
)
ENGLISH_DENIED: Final = re.compile(
    r"\blong time no see\b|\b(?:haven't|have not|hadn't) (?:\w+ )?(?:seen|had|been|visited)\b|\bwhy not\b|\bisn't it\b|\bnot seen\b|\bwithout you\b|\bif not\b",
    _ANY_CASE,
)
ENGLISH_NEGATIONS: Final = re.compile(r"\b(?:no|not|never|nor|neither|nothing|without|\w+n't)\b", _ANY_CASE)

UNKIND: Final = re.compile(
    r"(?<!\w)(?:плох\w*|хуже|худш\w*|ужас\w*|страшн\w*|некрасив\w*|уродл\w*|запущенн\w*|неухоженн\w*|неопрятн\w*|стар(?:ый|ая|ше|ые|еть|еете|ит|ят)|постаре\w*"
    r"|толст\w*|растолст\w*|жирн\w*|грязн\w*|вонюч\w*|лыс(?:ый|ая|ые|еете)|облысе\w*|сед(?:ой|ая|ые|еете)|обросл?\w*|заросл\w*|лохмат\w*|позор\w*|стыд\w*|глуп\w*|дур[аеыо]\w*"
    r"|идиот\w*|ненавид\w*|смерт\w*|умр\w*|умер\w*|убь\w*|убить|бедн\w*|долг(?:а|и|ов|у)(?!\w)|штраф\w*|суд(?:а|ом|иться)?(?!\w)|полици\w*|налог\w*|за это|(?<!для )вас (?:\w+ )?найд[её]м|найд[её]м вас|где вы(?!\w)|(?<!если )вам (?:\w+ )?(?:нуж[её]?н\w*|надо|пора)|(?<!\w)ваш\w* (?:\w+ ){0,2}пора|хотите нас|хотим вас(?=\s*(?:[.,!?—-]|$))|выбор(?:ы|ах|ам|ами)(?!\w)|оскорб\w*|обид\w*|больно|плач(?:ем|ет|ут)|страда\w*|забыли (?:о|про) нас|бросили"
    r"|tell(?! us)|we know|we saw you|так себе|we see you|where are|why(?! not)|you (?:said|told|did|asked|left)|look (?:at|like)|(?:find|want|need|know|get|take|love) you(?=\s*(?:[.,!?—-]|$))|(?<!to )love you|bad|worse|worst|ugly|awful|terrible|dirty|old|fat|stupid|idiot|hate|die|kill|ashamed|neglected|scruffy)(?!\w)",
    _ANY_CASE,
)

ENGLISH_OPENERS: Final = set_of(
    "it its we our ours you your yours this that there here time hi hello hey dear would shall could may might can do have"
    " has just hope how when which what why let lets fancy ready long welcome good great come see feel simply if as and but so since after for"
    " to with at on the a an any some enjoy enjoying treat reply book booking thank thanks still maybe perhaps "
)
"""Words that may begin an English sentence before a verb; any other is taken for somebody's name."""

ENGLISH_WORDS: Final = ENGLISH_OPENERS | set_of(
    "we're we'd we'll we've you're you'd you'll you've it's that's there's here's let's don't haven't hasn't isn't"
    " be been being was were is are am have had having get got give gives given take takes taken make find found know known"
    " last next visit visits visited appointment appointments time times ago while since until long short quick moment chance spot spots slot slots"
    " opening openings open available free booked book booking bookings reserve reserved schedule scheduled confirm confirmed pick choose suit suits"
    " suitable convenient work works away back again soon now already still yet always never often once very really quite so too"
    " also only other another each every both either neither or nor not no yes please thanks thank love like happy glad"
    " pleased delighted lovely nice warm friendly gentle fresh refresh refreshed refreshing relax relaxed relaxing rest pamper care look looks"
    " looking feel feels feeling style styles styling hair smile treat treatment treatments service services session sessions self yourself favourite"
    " favorite stylist barber master doctor dentist trainer coach specialist expert team salon barbershop clinic studio gym chair door doors welcome"
    " waiting wait ready help helps all noticed remember remembers remind reminder message note reply answer word let us "
    " then when where which why how because about above after before between by down for from in into of off on onto out over"
    " through to under up upon with within without away around near off discount offer offered special yours ours if though while as at an the this that"
    " these those some any few little lot lots bit piece something anything nothing everything place places way ways thing"
    " things idea plan plans day hello hi hey dear good great perfect wonderful best wishes see seen saw come comes came coming go goes going "
    " dropped by say said tell told ask asked hear miss missed think thought hope hoping want need "
    " would could should shall will can may might must do just simply easy easily well almost nearly maybe perhaps excited look forward"
    " grab enjoy enjoyed welcome fancy pop catch up touch new usual regular trust valued appreciate continue start restart train training shape"
    " flies flew energy goal goals progress move moving healthy-looking shine brighten time's it'd pleasure yours"
)
"""A message in English is written in these words: there is no dictionary of English here that knows nouns from verbs."""

ENGLISH_MISUSED: Final = re.compile(
    r"\b(?:(?<!would )(?<!you'd )(?<!we'd )(?<!you )like|works?(?! (?:for|best))|love(?! to)|all(?! (?:is well|the best))|do it|get well|we are so|(?:is|are) next"
    r"|are you (?:there|happy)|do you (?:love|know|like)|come (?:as|with|or)|(?:we|our|us) care|care (?:is|makes))\b",
    _ANY_CASE,
)
"""Words of that vocabulary in a use that a message has no need of."""

DOMAIN_WORDS: Final = frozenset({"барбер", "барбершоп", "онлайн", "смс", "бьюти", "лайк", "барберу", "барбера", "барбером", "барбере", "барберы", "барберов"})  # fmt: skip
"""Words of the trade that the dictionary lacks."""

# ---------------------------------------------------------------- what the CRM calls people

NO_NAMES: Final = set_of(
    "клиент клиентка гость имя аноним неизвестно новый тест без нет не номер телефон client guest unknown test null none undefined nan vip вип admin"
    " администратор user name free click win winner sale discount bonus promo manager owner any everyone customer mr mrs ms miss dr no new old the"
    " hello hi dear sir madam staff master barber salon ignore system prompt stop spam shop true false select drop delete insert update script walk walkin"
)
RELATIVES: Final = set_of(
    "жена муж мама папа мать отец дочь дочка сын сынок сестра брат подруга друг приятель внук внучка бабушка дедушка тётя дядя невеста жених ребёнок"
)
"""Whoever follows is not the client."""
OBSCENE: Final = re.compile(r"ху[йеёия]|пизд|[её]ба|[её]бл|бляд|бля(?!\w)|муд[ао]|сук[аи](?!\w)|гандон|пид[оа]р|fuck|shit|bitch|dick(?!\w)|nigg", _ANY_CASE)  # fmt: skip
SHORT_WORDS: Final = set_of("а в и к о с у я")
"""The words of one letter; any other letter that stands alone is a word taken apart."""
ENGLISH_PROMO: Final = set_of(
    "free off sale discount bonus click win winner prize gift deal offer cheap best guarantee guaranteed promo ignore instructions instruction system"
    " prompt write say tell call visit buy pay price cash money link stop unsubscribe admin manager test"
)
