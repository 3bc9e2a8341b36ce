"""The fallback texts: written by people, used when no model may or can write.

A template is one line. `{...}` is filled with a fact. `[...]` is kept only when every fact inside it is known, so one line serves
with and without slots, discount, service, favourite and name. The facts: name, days_phrase, service, staff, discount, slots, and the
business's own words `master` (мастер, барбер, врач, тренер) and `visit` (на процедуру, на стрижку, ...).

Names and titles stand in the nominative, after a comma, in quotes or beside `master`, because they cannot be inflected safely. No
line has a verb whose form depends on the client's or the master's gender.
"""

from typing import Final

# Keyed by (stage, tone); four or more each.
RUSSIAN: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("gentle", "friendly"): (
        "[{name}, ]здравствуйте! Вы были у нас {days_phrase} назад[ («{service}»)].[ Ваш {master} {staff} принимает.][ Скидка {discount}%.][ Есть время {slots}.] Записать вас? 😊",
        "[{name}, ]добрый день! Уже {days_phrase} с прошлой записи[ («{service}»)].[ Ваш {master} — {staff}.][ Для вас −{discount}%.][ Свободно {slots}.] Запишем вас? 🌿",
        "[{name}, ]рады напомнить о себе 😊 Прошлый визит — {days_phrase} назад[: «{service}»].[ С вами {master} {staff}.][ Скидка {discount}%.][ Можно {slots}.] Записать вас?",
        "[{name}, ]здравствуйте! Прошлый раз — {days_phrase} назад[: «{service}»].[ Ваш {master} {staff} на месте.][ Ваша скидка — {discount}%.][ Удобно {slots}?] Запишем вас? ✨",
    ),
    ("gentle", "professional"): (
        "[{name}, ]здравствуйте! Ваш прошлый визит — {days_phrase} назад[: «{service}»].[ Ваш {master}: {staff}.][ Скидка — {discount}%.][ Свободно {slots}.] Записать вас? 🙂",
        "[{name}, ]добрый день! Со дня вашего визита — уже {days_phrase}[ («{service}»)].[ Принимает {staff}.][ Скидка {discount}%.][ Есть время {slots}.] Оформим запись? 📅",
        "[{name}, ]здравствуйте! Прошлая запись была {days_phrase} назад[ («{service}»)].[ Ваш {master} — {staff}.][ Скидка {discount}%.][ Можно {slots}.] Записать вас? 📅",
        "[{name}, ]добрый день! Вы посещали нас {days_phrase} назад[ («{service}»)].[ Работает {staff}.][ Скидка — {discount}%.][ Свободно {slots}.] Оформить запись? 🙂",
    ),
    ("gentle", "casual"): (
        "Привет[, {name}]! Виделись {days_phrase} назад[ («{service}»)].[ Ваш {master} {staff} на месте.][ Скидка {discount}%.][ Есть окошко {slots}.] Записать? 😉",
        "Привет[, {name}]! Прошлый раз был {days_phrase} назад[: «{service}»].[ {staff} на связи.][ Держите −{discount}%.][ Свободно {slots}.] Заглянете? Запишем! 👋",
        "[{name}, ]привет! Уже {days_phrase} с прошлого раза[ («{service}»)].[ С вами {staff}.][ Скидка — {discount}%.][ Можно {slots}.] Записываем? 😊",
        "Привет[, {name}]! {days_phrase} назад вы были у нас[: «{service}»].[ {staff} принимает.][ Скидка {discount}%.][ Окошко — {slots}.] Ну что, записать вас? ✌️",
    ),
    ("offer", "friendly"): (
        "[{name}, ]здравствуйте! Вы были у нас {days_phrase} назад[ («{service}»)], самое время обновиться.[ Ваш {master} {staff} вас помнит.][ Дарим скидку {discount}%.][ Свободно {slots}.] Записать вас {visit}? 😊",
        "[{name}, ]добрый день! С прошлого визита уже {days_phrase}[: «{service}»].[ Ваш {master} {staff} принимает.][ Для вас скидка {discount}%.][ Есть время {slots}.] Какое время вам удобно — запишем? 🌸",
        "[{name}, ]рады будем увидеться снова! Прошлый раз вы заходили {days_phrase} назад[ («{service}»)].[ {staff} на месте.][ Ваша скидка — {discount}%.][ Можно {slots}.] Запишем вас? ✨",
        "[{name}, ]здравствуйте! {days_phrase} назад мы виделись в последний раз[: «{service}»].[ Ваш {master} — {staff}.][ Скидка {discount}% — для вас.][ Ждём вас {slots}.] Записать вас? 💫",
    ),
    ("offer", "professional"): (
        "[{name}, ]здравствуйте! Ваш последний визит был {days_phrase} назад[: «{service}»].[ Ваш {master}: {staff}.][ Для вас действует скидка {discount}%.][ Свободно {slots}.] Записать вас {visit}? 🙂",
        "[{name}, ]добрый день! Со дня последнего визита — уже {days_phrase}[ («{service}»)].[ Принимает {staff}.][ Предлагаем скидку {discount}%.][ Доступное время: {slots}.] Какое время записать за вами? 📅",
        "[{name}, ]здравствуйте! Напоминаем о себе: вы были у нас {days_phrase} назад[ («{service}»)].[ Ваш {master} — {staff}.][ Скидка для вас — {discount}%.][ Есть время {slots}.] Оформить запись? 📋",
        "[{name}, ]добрый день! Прошлая запись — {days_phrase} назад[: «{service}»]. Рекомендуем не откладывать следующую.[ Работает {staff}.][ Скидка {discount}%.][ Свободно {slots}.] Записать вас? 🙂",
    ),
    ("offer", "casual"): (
        "Привет[, {name}]! Давно не виделись — уже {days_phrase}[ («{service}»)].[ {staff} на месте.][ Держите скидку {discount}%.][ Есть окошки: {slots}.] Записать вас? 😉",
        "[{name}, ]привет! {days_phrase} назад были у нас[: «{service}»], пора повторить?[ Ваш {master} {staff} на связи.][ Скидка {discount}% уже ваша.][ Свободно {slots}.] Записываем? 👋",
        "Привет[, {name}]! Прошлый раз — {days_phrase} назад[ («{service}»)].[ {staff} вас помнит.][ Для вас −{discount}%.][ Можно {slots}.] Когда ждать вас? Запишем! 😎",
        "Привет[, {name}]! Уже {days_phrase} без вас[ («{service}»)] — непорядок.[ Ваш {master} — {staff}.][ Ловите скидку {discount}%.][ Окошки: {slots}.] Выбирайте время, запишем! ✌️",
    ),
    ("win_back", "friendly"): (
        "[{name}, ]здравствуйте! Мы не виделись уже {days_phrase}[ — последний раз была запись «{service}»]. Будем очень рады вам снова.[ Ваш {master} {staff} вас помнит.][ Дарим скидку {discount}%.][ Свободно {slots}.] Записать вас {visit}? 😊",
        "[{name}, ]добрый день! Последний раз вы были у нас {days_phrase} назад[ («{service}»)], и нам вас не хватает.[ {staff} на месте.][ Для вас — скидка {discount}%.][ Есть время {slots}.] Какое время вам удобно? Запишем сразу! 🌸",
        "[{name}, ]здравствуйте! Прошло немало — вы заходили {days_phrase} назад[: «{service}»].[ Ваш {master} — {staff}.][ Ваша скидка — {discount}%, просто запишитесь.][ Можно {slots}.] Запишем вас? ✨",
        "[{name}, ]рады написать вам! С последнего визита уже {days_phrase}[ («{service}»)]. Самое время порадовать себя.[ Ваш {master} {staff} принимает.][ Скидка {discount}% ждёт вас.][ Свободно {slots}.] Записать вас? 💛",
    ),
    ("win_back", "professional"): (
        "[{name}, ]здравствуйте! Последний раз вы были у нас {days_phrase} назад[: «{service}»]. Будем рады видеть вас вновь.[ Ваш {master}: {staff}.][ Для вас действует скидка {discount}%.][ Свободно {slots}.] Записать вас {visit}? 🙂",
        "[{name}, ]добрый день! Со дня вашего последнего визита — уже {days_phrase}[ («{service}»)].[ Принимает {staff}.][ Предлагаем вам скидку {discount}% на следующий визит.][ Доступное время: {slots}.] Какое время за вами записать? 📅",
        "[{name}, ]здравствуйте! Ваша прошлая запись — {days_phrase} назад[: «{service}»]. Мы ценим ваше доверие.[ Ваш {master} — {staff}.][ Ваша скидка — {discount}%.][ Есть время {slots}.] Оформить запись? 📋",
        "[{name}, ]добрый день! Вы посещали нас {days_phrase} назад[ («{service}»)]. Приглашаем вас снова.[ Работает {staff}.][ Скидка для вас — {discount}%.][ Свободно {slots}.] Подтвердите удобное время, и мы запишем вас 🙂",
    ),
    ("win_back", "casual"): (
        "Привет[, {name}]! Вот это пауза — {days_phrase}[ («{service}»)]! Заглядывайте, будем рады.[ {staff} на месте.][ Держите скидку {discount}%.][ Есть окошки: {slots}.] Записать вас? 😉",
        "[{name}, ]привет! Не виделись уже {days_phrase}[: «{service}»]. Может, пора?[ Ваш {master} {staff} вас помнит.][ Скидка {discount}% уже ваша.][ Свободно {slots}.] Записываем {visit}? 👋",
        "Привет[, {name}]! {days_phrase} назад были у нас в последний раз[ («{service}»)]. Соскучились![ {staff} на связи.][ Для вас −{discount}%.][ Можно {slots}.] Когда вам удобно? Запишем! 😎",
        "Привет[, {name}]! Последний раз — аж {days_phrase} назад[: «{service}»].[ Ваш {master} — {staff}.][ Ловите скидку {discount}%.][ Окошки: {slots}.] Выбирайте время и приходите, запишем! ✌️",
    ),
}  # fmt: skip

# English has one tone.
ENGLISH: Final[dict[str, tuple[str, ...]]] = {
    "gentle": (
        "Hi[ {name}]! Your last visit was {days_phrase} ago[ ({service})].[ {staff} is in.][ Enjoy {discount}% off.][ We have {slots}.] Shall we book you in? 😊",
        "Hello[ {name}]! It has been {days_phrase}[ since your {service}].[ With {staff}.][ {discount}% off for you.][ Free: {slots}.] Would you like to book? 🌿",
        "Hi[ {name}], just a hello 👋 Last visit: {days_phrase} ago[ ({service})].[ {staff} is here.][ You get {discount}% off.][ Open: {slots}.] Shall we book you?",
    ),
    "offer": (
        "Hi[ {name}]! It has been {days_phrase} since your last visit[ ({service})].[ {staff} would love to see you.][ Here is {discount}% off for you.][ We have {slots}.] Shall we book you in? 😊",
        "Hello[ {name}]! Your last visit was {days_phrase} ago[ ({service})], so it may be time.[ {staff} is in.][ Enjoy {discount}% off.][ Free: {slots}.] Which time may we book? ✨",
        "Hi[ {name}]! {days_phrase} have gone by[ since your {service}].[ {staff} is in.][ You have {discount}% off.][ Open: {slots}.] Would you like to book? 🌸",
    ),
    "win_back": (
        "Hi[ {name}]! It has been {days_phrase} since we last saw you[ ({service})]. We would love to have you back in the chair.[ {staff} remembers you.][ Here is {discount}% off.][ We have {slots}.] Shall we book you in? 😊",
        "Hello[ {name}]! Your last visit was {days_phrase} ago[ ({service})]. Time for a treat?[ {staff} is in.][ You have {discount}% off your next visit.][ Free: {slots}.] Which time may we book for you? ✨",
        "Hi[ {name}]! We have not seen you for {days_phrase}[ ({service})].[ {staff} is here.][ Enjoy {discount}% off.][ Open: {slots}.] Reply with a time and we will book it for you 💛",
    ),
}  # fmt: skip

# What each kind of business calls the person who serves and the thing to be booked (accusative).
BUSINESS_WORDS: Final[dict[str, tuple[str, str]]] = {
    "beauty": ("мастер", "на процедуру"),
    "barbershop": ("барбер", "на стрижку"),
    "dental": ("врач", "на визит"),
    "fitness": ("тренер", "на тренировку"),
    "other": ("специалист", "на визит"),
}

OPT_OUT_LINE: Final[dict[str, str]] = {
    "ru": "Не хотите сообщений — ответьте «стоп».",
    "en": "Reply STOP to opt out.",
}
