"""What clients write back. Placeholders: {time} 18:30, {day} в четверг, {date} 26 ноября, {nth} второй, {until} 15 декабря, {staff} a name."""

RU: dict[str, tuple[str, ...]] = {
    "confirm": ("да, давайте", "Да, запишите меня пожалуйста", "давайте 👍", "Хорошо, записывайте", "Да", "ок, приду", "+", "Давно собиралась, запишите"),
    "choose_slot": ("да, на {time}", "{nth} вариант", "{day} в {time} подойдёт", "Давайте {date}", "на {time} удобно", "{day} пожалуйста", "Запишите на {time} {date}"),
    "change_mind": ("ой, лучше на {time}", "нет, давайте всё-таки {day} в {time}", "Можно поменять на {time}?"),
    "other_time": ("а есть время вечером после 19?", "Не хочу утром, лучше вечером", "в эти дни не могу, а на следующей неделе?", "Только в выходные получится", "А пораньше нет?"),
    "other_staff": ("А к {staff} можно?", "хочу к {staff}", "Только к {staff}, если она работает"),
    "other_service": ("А на {service} можно записаться?", "мне бы лучше {service}", "не это, а {service} хочу"),
    "pause_until": ("в отпуске до {until}", "Пока не надо, в отпуске до {until}", "Я уехала, вернусь {until}, напишите после", "болею, давайте после {until}"),
    "decline_now": ("Нет, спасибо", "нет спасибо, пока не нужно", "Не интересно", "спасибо, не надо", "Уже подстриглась в другом месте, спасибо"),
    "opt_out": ("стоп", "Не пишите мне больше", "СТОП", "отпишите меня", "хватит спама", "Удалите мой номер", "не беспокойте"),
    "already_booked": ("Я уже записана", "так я же записалась уже", "Я к вам и так иду {day}"),
    "wrong_person": ("Вы ошиблись номером", "Это не мой номер, я у вас не была", "это телефон мастера, вы что"),
    "question": ("А сколько стоит?", "Когда можно прийти?", "а парковка у вас есть?", "Скидка на всё действует?", "Невозможно дозвониться до вас, вы работаете?"),
    "complaint": ("В прошлый раз мне всё испортили, больше не приду", "Ужасно подстригли, верните деньги", "Я же просила не писать!"),
    "thanks": ("Спасибо!", "Спасибо, подумаю", "благодарю 🌸", "👍", "Спасибо, что помните"),
    "unclear": ("хм", "?", "я за рулём", "🙈", "Здравствуйте"),
    "greeting": ("Здравствуйте!", "Добрый день", "Привет"),
    "writes_first": ("Добрый день! Можно записаться?", "Здравствуйте, есть окошко на неделе?", "Запишите меня, пожалуйста, как обычно"),
}  # fmt: skip

EN: dict[str, tuple[str, ...]] = {
    "confirm": ("Yes please", "sure, book me in", "Yes!", "ok, see you then", "sounds good 👍"),
    "choose_slot": ("{time} works", "the {nth} one please", "{day} at {time}", "let's do {date}", "{time} on {date} please"),
    "change_mind": ("sorry, {time} is better", "actually can we do {day} at {time}?"),
    "other_time": ("anything after 7pm?", "not this week, maybe next week?", "only weekends work for me"),
    "other_staff": ("Can I come to {staff}?", "only with {staff} please"),
    "other_service": ("can I get {service} instead?", "I'd rather book {service}"),
    "pause_until": ("away until {until}", "on holiday until {until}, text me after"),
    "decline_now": ("No thanks", "not now, thank you", "not interested"),
    "opt_out": ("stop", "STOP", "unsubscribe", "don't text me again"),
    "already_booked": ("I already have an appointment", "I'm already booked {day}"),
    "wrong_person": ("wrong number", "I think you have the wrong person"),
    "question": ("how much is it?", "do you have parking?", "is the discount for everything?"),
    "complaint": ("You ruined my hair last time", "I asked you to stop texting me!"),
    "thanks": ("Thanks!", "thank you, I'll think about it", "🙏"),
    "unclear": ("hm", "?", "driving"),
    "greeting": ("Hi!", "Hello"),
    "writes_first": ("Hi! Can I book an appointment?", "Hello, anything free this week?"),
}  # fmt: skip

ORDINALS = {
    "ru": ("первый", "второй", "третий", "четвёртый", "пятый"),
    "en": ("first", "second", "third", "fourth", "fifth"),
}
WEEKDAYS = {
    "ru": ("в понедельник", "во вторник", "в среду", "в четверг", "в пятницу", "в субботу", "в воскресенье"),
    "en": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
}
MONTHS = {
    "ru": ("января", "февраля", "марта", "апреля", "мая", "июня", "июля", "августа", "сентября", "октября", "ноября", "декабря"),
    "en": ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"),
}  # fmt: skip


def phrases(language: str) -> dict[str, tuple[str, ...]]:
    """The phrase book of a language; anything but English is answered in Russian."""
    return EN if language == "en" else RU
