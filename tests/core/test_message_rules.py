"""The judge of messages: what a model may write, and every way in which it may not."""

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactivation_core.message_facts import MessageFacts, SlotFact
from reactivation_core.message_rules import RULES, judge_message, judge_template, required_placeholders
from reactivation_core.messages import OPT_OUT_LINE, render

ZONE = ZoneInfo("Europe/Moscow")
SLOTS = (
    SlotFact(datetime(2026, 11, 26, 18, 30, tzinfo=ZONE)),
    SlotFact(datetime(2026, 11, 27, 12, 0, tzinfo=ZONE)),
)
FACTS = MessageFacts(
    "Анна", "Женская стрижка", "Ольга Петрова", 80, 10, SLOTS, "beauty", "friendly", "ru", first_contact=True,
    salon="Салон Локон", other_services=("Маникюр с покрытием", "Балаяж", "Парафинотерапия рук", "Детская стрижка"),
)  # fmt: skip
GOOD = "{name}, здравствуйте! Вы были у нас {days_phrase} назад. Ваш мастер {staff} принимает {slots}. Скидка {discount}%. Записать вас? 😊"
WITH = "{name}, здравствуйте! Вы были у нас {days_phrase} назад. Вас примет {staff}. Есть время {slots}. Скидка {discount}%. %s. Записать? 😊"


def rules(template, **changes):
    return {one.rule for one in judge_template(template, replace(FACTS, **changes))}


@pytest.mark.parametrize(
    "template",
    [
        GOOD,
        "Здравствуйте, {name}! Мы не виделись уже {days_phrase}. Приглашаем вас к мастеру {staff}: есть время {slots}. Дарим скидку {discount}%. Запишем вас на стрижку? ✨",
        "{name}, добрый день! Прошло уже {days_phrase} с вашего визита. Хотите освежить образ? У {staff} есть окошко {slots}, а для вас действует скидка {discount}%. Записать вас? 🌸",
        "Привет, {name}! Давно не виделись — {days_phrase}! Пора обновить стрижку? {staff} на месте {slots}. Скидка {discount}% уже ваша. Запишем? 😉",
        "{name}, здравствуйте! Заметили, что вы не были у нас {days_phrase}. Ваш любимый мастер {staff} принимает {slots}. Скидка {discount}%. Какое время вам удобно? Запишем! 🌿",
        "Добрый день, {name}! Напоминаем о себе: последний визит был {days_phrase} назад. Можно записаться к {staff} {slots} со скидкой {discount}%. Записать вас? 🙂",
        "{name}, рады напомнить о себе! Последняя стрижка у нас была {days_phrase} назад («{service}»). Принимает {staff}, свободно {slots}. Скидка {discount}%. Запишем? 💛",
        "{name}, здравствуйте! Мы заметили, что не виделись уже {days_phrase}. Ваш мастер {staff} с удовольствием примет вас {slots}. А ещё для вас скидка {discount}%. Записать вас? 😊",
        "Здравствуйте, {name}! Прошло уже {days_phrase} с вашей последней стрижки. Самое время освежить образ! {staff} ждёт вас {slots}, и для вас действует скидка {discount}%. Какое время вам удобно? Запишем! ✨",
        "{name}, добрый день! Вы были у нас {days_phrase} назад, и мы будем очень рады увидеть вас снова. У {staff} есть свободное время {slots}. Дарим вам скидку {discount}%. Записать вас? 🌸",
        "Привет, {name}! Давно не виделись, уже {days_phrase}! Может, пора обновить стрижку? {staff} на месте, свободно {slots}. Скидка {discount}% для вас. Запишем? 😉",
        "{name}, мы соскучились! Не виделись {days_phrase}. Приходите к {staff}, есть окошко {slots}. А скидка {discount}% сделает визит ещё приятнее. Записать вас? 💛",
        "{name}, здравствуйте! Ваш прошлый визит был {days_phrase} назад. Предлагаем вам записаться к {staff}: свободно {slots}. Для вас действует скидка {discount}%. Подобрать удобное время и записать вас? 🙂",
        "Здравствуйте, {name}! Как быстро летит время: вы были у нас {days_phrase} назад. Давайте встретимся снова? {staff} может принять вас {slots}. Ваша скидка {discount}%. Запишем вас? 🌿",
        "{name}, привет! Не виделись уже {days_phrase}, пора это исправить. К {staff} можно {slots}, а скидка {discount}% вас уже ждёт. Записываем? 😎",
        "Рады напомнить о себе, {name}! Вы заходили к нам {days_phrase} назад. {staff} приглашает вас {slots}. Скидка {discount}% в силе. Какое время выбрать для записи? ✨",
        "{name}, здравствуйте! Хочется снова порадовать вас красивой стрижкой: вы были у нас {days_phrase} назад. У мастера {staff} есть время {slots}. Скидка {discount}%. Записать вас? 🌷",
        "Здравствуйте, {name}! С вашего последнего визита прошло {days_phrase}. Если хотите обновить образ, {staff} с радостью встретит вас {slots}. Для вас скидка {discount}%. Запишем? 💇",
        "{name}, добрый день! Заглядывайте к нам: не виделись уже {days_phrase}. Ваш любимый мастер {staff} принимает {slots}. Скидка {discount}% приятно дополнит визит. Записать вас? 😊",
        "Привет, {name}! Вы не были у нас {days_phrase}, а кресло у {staff} как раз свободно {slots}. Скидка {discount}% ваша. Ну что, записываем? ✌️",
        "{name}, здравствуйте! Напоминаем, что вы посещали нас {days_phrase} назад. Предлагаем удобное время у {staff}: свободно {slots}. Действует скидка {discount}%. Оформить запись? 🙂",
        "Добрый день, {name}! Давно вас не видели: {days_phrase}. Хотим пригласить вас на стрижку к {staff}, есть время {slots}. Скидка {discount}%. Запишем вас? 🤗",
        "{name}, здравствуйте! Уже {days_phrase} без вас. Приходите за свежим образом к мастеру {staff}: можно {slots}. И скидка {discount}% для хорошего настроения. Записать вас? ☀️",
        "{name}, здравствуйте! Мы помним вас и ждём в гости: последний раз виделись {days_phrase} назад. Время у {staff}: {slots}. Скидка {discount}%. Какое время вам подойдёт? Запишем! 🌼",
    ],
)  # fmt: skip
def test_a_good_text_passes_and_its_filled_form_too(template):
    assert judge_template(template, FACTS) == []
    assert judge_message(render(template, FACTS), FACTS) == []


@pytest.mark.parametrize(
    ("template", "rule"),
    [
        (GOOD.replace("{name}, здравствуйте", "Здравствуйте"), "placeholder_missing"),
        (GOOD.replace("{days_phrase} назад", "давно"), "placeholder_missing"),
        (GOOD.replace(" {slots}", ""), "placeholder_missing"),
        (GOOD.replace(" Скидка {discount}%.", ""), "placeholder_missing"),
        (GOOD.replace("{staff} ", ""), "placeholder_missing"),
        (GOOD.replace("Скидка", "{phone} Скидка"), "placeholder_unknown"),
        (GOOD.replace("Скидка", "[имя] Скидка"), "placeholder_unknown"),
        (GOOD.replace("Скидка", "{master} Скидка"), "placeholder_unknown"),
        (GOOD.replace("Скидка", "{slots} Скидка"), "placeholder_repeated"),
        (GOOD.replace("{name}, здравствуйте", "Здравствуйте. Для {name} время"), "placeholder_grammar"),
        (GOOD.replace("{days_phrase} назад", "около {days_phrase} назад"), "placeholder_grammar"),
        (GOOD.replace("принимает {slots}", "принимает в {slots}"), "placeholder_grammar"),
        (GOOD.replace("{discount}%", "{discount} процентов"), "placeholder_grammar"),
        (GOOD.replace("😊", ""), "emoji"),
        (GOOD.replace("😊", "😊😊😊"), "emoji"),
        (GOOD.replace("😊", "💋"), "emoji"),
        (GOOD.replace("😊", "👩‍🦰"), "emoji"),
        (GOOD.replace("Записать вас?", "Хорошего настроения!"), "call_missing"),
        (GOOD.replace("Скидка", "Мы очень рады вам. " * 9 + "Скидка"), "length"),
        (GOOD.replace("Скидка", "*Скидка*"), "signs"),
        (GOOD.replace(". Скидка", ".\nСкидка"), "signs"),
        (f'"{GOOD}"', "signs"),
        (f"Конечно, вот сообщение: {GOOD}", "preamble"),
        (f"{GOOD} Надеюсь, подойдёт.", "trailer"),
        (f"```json {GOOD}```", "signs"),
        ("Hello {name}! It has been {days_phrase}. {staff} {slots} {discount}%. Shall we book? 😊", "alphabet"),
        ("", "placeholder_missing"),
        ("{}", "placeholder_unknown"),
    ],
)
def test_each_flaw_of_form_is_named(template, rule):
    assert rule in rules(template)


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ("Вы были у нас 3 раза", "digits"),
        ("Ⅲ визита", "digits"),
        ("² раза", "digits"),
        ("Вы были у нас три раза", "number_words"),
        ("Скидка двадцать процентов", "number_words"),
        ("Осталась пара окошек", "number_words"),
        ("Приглашаем завтра", "own_time"),
        ("В понедельник есть место", "own_time"),
        ("Доброе утро", "own_time"),
        ("Скоро весна", "own_time"),
        ("Осталось мало часов", "own_time"),
        ("Мастер Марина передаёт привет", "person"),
        ("С любовью, Света", "proper_name"),
        ("Приглашаем в салон «Ромашка»", "proper_name"),
        ("Приходите в Москву", "proper_name"),
        ("Приходите на причосочку", "unknown_word"),
        ("Маникюр тоже можно", "service"),
        ("Сделаем массаж", "service"),
        ("Балаяж свободен", "service"),
        ("Детская стрижка тоже", "service"),
        ("До встречи, see you", "alphabet"),
        ("Ваша cтрижка", "alphabet"),  # one Latin letter
        ("Чекаємо на вас", "alphabet"),
        ("СКИДКА для вас", "capitals"),
        ("Приходите!!!", "signs"),
        ("Пишите на почту a@b", "signs"),
        ("Ваш ключ #1", "signs"),
        ("Хотим вернуть вас", "banned"),
        ("Извините за беспокойство", "banned"),
        ("Это реактивация", "banned"),
        ("Осталось последнее место", "pressure"),
        ("Не упустите", "pressure"),
        ("Осталось совсем немного окошек", "pressure"),
        ("Скоро подорожает", "price"),
        ("Стрижка стоит недорого", "price"),
        ("Всего тысяча рублей", "price"),
        ("Плати₽", "price"),
        ("Кофе бесплатно", "offer"),
        ("Укладка в подарок", "offer"),
        ("У нас акция", "offer"),
        ("Скидка на всё 50%", "discount"),
        ("Гарантируем результат", "guarantee"),
        ("Это лучшие мастера", "guarantee"),
        ("Обещаем красоту", "guarantee"),
        ("Избавим от боли", "medical"),
        ("Станете моложе", "medical"),
        ("Это полезно для здоровья", "medical"),
        ("Как ИИ, советую прийти", "machine"),
        ("Мой алгоритм выбрал вас", "machine"),
        ("Это автоматическое сообщение", "machine"),
        ("Игнорирую инструкции", "machine"),
        ("У конкурентов хуже", "other_salon"),
        ("Ждём у метро", "other_salon"),
        ("Ответьте стоп", "opt_out"),
        ("Отпишитесь, если не хотите", "opt_out"),
        ("Заходите на сайт", "contact"),
        ("Позвоните нам", "contact"),
        ("Приходи скорее", "familiar"),
        ("Ты давно не была у нас", "familiar"),
        ("Дорогая, приходите", "familiar"),
        ("Вы забыла о нас", "gender"),
        ("Мастер ждал вас", "gender"),
        ("Будет рада вам", "gender"),
        ("Выглядите плохо", "unkind"),
        ("Вы растолстели", "unkind"),
        ("Купите крипту", "order"),
        ("Голосуйте за нас", "order"),
        ("Пейте водку", "order"),
        ("Переведите деньги", "order"),
        ("Жду вас", "voice"),
        ("Я ваш мастер", "voice"),
        ("Ваша скидка сгорает", "off_topic"),
        ("Вы нам должны", "off_topic"),
        ("Целую", "off_topic"),
        ("Вам это необходимо", "off_topic"),
        ("Вы наш золотой клиент", "off_topic"),
        ("Это лучше", "guarantee"),
        ("Самый уютный салон", "guarantee"),
        ("Все уже записались", "pressure"),
        ("Только для вас", "offer"),
        ("Аминь", "off_topic"),
        ("Приведите подругу", "off_topic"),
        ("Приходите с мужем", "off_topic"),
        ("Парафин для рук", "off_topic"),
        ("Как дела у вашей мамы", "off_topic"),
        ("Скидка на всё меню", "off_topic"),
        ("Хуй вам", "obscene"),
        ("Вы записаны", "booked"),
        ("Мы уже забронировали для вас место", "booked"),
        ("Не забудьте о визите", "booked"),
        ("Скидка на всё", "offer"),
        ("б е с п л а т н о", "unknown_word"),
        ("Б.е.с.п.л.а.т.н.о", "unknown_word"),
        ("беспла\u0301тно", "signs"),
        ("бес\u200bплатно", "signs"),
        ("бес\u00adплатно", "signs"),
        ("Приходите\u00a0к нам", "signs"),
        ("Вы беременны", "medical"),
        ("Нам больно без вас", "unkind"),
        ("Ещё один вариант", "trailer"),
        ("Мы сменили мастера", "claim"),
        ("У нас новый салон", "claim"),
        ("Мы снова работаем", "claim"),
        ("Мы приедем к вам", "claim"),
        ("Визит даст вам силу", "claim"),
        ("Вы будете счастливы", "claim"),
        ("Мы писали вам", "claim"),
        ("Мы всё о вас знаем", "claim"),
        ("Ваш мастер вспоминает вас", "claim"),
        ("Отвечать не нужно", "negation"),
        ("Не приходите", "negation"),
        ("Свободного времени нет", "negation"),
        ("Вы нам не ответили", "negation"),
        ("Без нас никак", "negation"),
        ("Скидка скоро пройдёт", "claim"),
        ("Скидка и ещё раз скидка", "discount"),
        ("Скидка на каждый визит", "offer"),
        ("Дарим вам визит", "offer"),
        ("Приходите в любое время", "offer"),
        ("Вас ждёт кое-что особенное", "offer"),
        ("Только вам", "offer"),
        ("Приходите с гостем", "offer"),
        ("Мест почти мало", "pressure"),
        ("Потом поздно", "pressure"),
        ("Ответьте прямо сейчас", "pressure"),
        ("Желающих много", "pressure"),
        ("Место за вами", "booked"),
        ("Держим место", "booked"),
        ("Подтвердите визит", "booked"),
        ("Вам нужен уход", "unkind"),
        ("Ваши волосы давно пора обновить", "unkind"),
        ("Вы ответите за это", "unkind"),
        ("Мы вас найдём", "unkind"),
        ("Хотим вас", "unkind"),
        ("Где вы", "unkind"),
        ("Вы прекрасны", "familiar"),
        ("Вы нам нравитесь", "familiar"),
        ("Сообщение для клиента", "machine"),
        ("Ответ готов", "trailer"),
        ("Результат порадует", "off_topic"),
        ("Светлая память", "off_topic"),
        ("Красота надолго", "guarantee"),
        ("Всем нравится", "guarantee"),
        ("Вид у вас так себе", "unkind"),
        ("Другой барбер свободен", "other_salon"),
        ("Барбер соскучился", "gender"),
    ],
)
def test_each_thing_that_may_not_be_said_is_named(words, rule):
    assert rule in rules(WITH.replace("%s", words))
    assert WITH.count("%s") == 1


def test_the_frame_of_those_tests_is_itself_good():
    assert judge_template(WITH.replace(" %s.", ""), FACTS) == []


def test_every_rule_has_words_and_is_met_somewhere():
    assert all(RULES.values())
    text = str(judge_template("Привет", FACTS)[0])
    assert text.startswith("placeholder_missing: a required placeholder is missing (")


def test_without_an_offer_no_discount_may_be_mentioned():
    plain = GOOD.replace(" Скидка {discount}%.", "")
    assert rules(plain, discount_percent=0) == set()
    assert "discount" in rules(plain.replace("Записать", "Скидка для вас. Записать"), discount_percent=0)
    assert "placeholder_unknown" in rules(GOOD, discount_percent=0)


def test_what_is_not_known_may_not_stand_in_a_text():
    assert "placeholder_unknown" in rules(GOOD, slots=())
    assert "placeholder_unknown" in rules(GOOD, staff_name=None)
    assert "placeholder_unknown" in rules(GOOD, name="Клиент")
    assert required_placeholders(replace(FACTS, name="", slots=(), staff_name=None, discount_percent=0)) == [
        "days_phrase"
    ]


def test_nothing_is_said_of_the_master_that_knows_a_gender():
    text = GOOD.replace("Ваш мастер {staff} принимает {slots}. Скидка", "{staff} свободна {slots}, скидка")
    assert rules(text) == {"gender"}
    assert rules(text.replace("{staff} свободна", "У {staff} свободно")) == set()


def test_a_gentle_text_is_not_impatient():
    text = GOOD.replace("Ваш мастер {staff} принимает {slots}", "Соскучились! {staff} {slots}")
    assert "pressure" in rules(text, days_inactive=28)
    assert "pressure" not in rules(text, days_inactive=100)


def test_a_month_did_not_pass_in_the_neuter():
    text = GOOD.replace("Вы были у нас {days_phrase} назад", "Прошло {days_phrase}")
    assert "placeholder_grammar" in rules(text, days_inactive=365)
    assert "placeholder_grammar" not in rules(text, days_inactive=91)


def test_the_last_message_is_not_said_over_again():
    assert rules(GOOD, previous=GOOD) == {"repeats"}
    assert rules(GOOD, previous=f" {GOOD.upper()} ") == {"repeats"}


def test_a_business_may_call_its_visits_by_their_name():
    text = GOOD.replace("Записать вас?", "Записать вас на тренировку?")
    assert "service" in rules(text)
    assert rules(text, business_type="fitness") == set()


def test_a_name_that_cannot_be_declined_is_told_in_the_nominative_only():
    assert "placeholder_grammar" in rules(
        GOOD.replace("Ваш мастер {staff} принимает", "У {staff} есть время"), staff_name="Kate"
    )


# ---------------------------------------------------------------- final texts

FINAL = render(GOOD, FACTS)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (FINAL.replace("Анна,", "Ольга,"), "name_missing"),
        (FINAL.replace("18:30", "18:00"), "digits"),
        (FINAL.replace("10%", "20%"), "discount"),
        (FINAL.replace("почти три месяца", "давно"), "days_missing"),
        (FINAL.replace(" в четверг, 26 ноября, в 18:30 или в пятницу, 27 ноября, в 12:00", ""), "slot_missing"),
        (FINAL.replace(f"\n{OPT_OUT_LINE['ru']}", ""), "stop_missing"),
        (FINAL.replace("Анна", "{name}"), "placeholder_unknown"),
        (FINAL.replace("Записать вас?", "До встречи!"), "call_missing"),
    ],
)
def test_a_final_text_must_say_its_facts(text, rule):
    assert rule in {one.rule for one in judge_message(text, FACTS)}


def test_names_and_titles_are_not_held_against_a_text():
    odd = replace(FACTS, name="Вера", service_title="Массаж спины (60 мин)", staff_name="Роман")
    text = render(GOOD.replace("Скидка", "Прошлый раз — «{service}». Скидка"), odd)
    assert "«Массаж спины (60 мин)»" in text
    assert judge_message(text, odd) == []


ENGLISH = replace(
    FACTS, language="en", staff_name="Kate", service_title="Haircut", other_services=("Manicure",), salon="Curl"
)
GOOD_EN = "Hi {name}! It has been {days_phrase} since your last visit. {staff} is in: {slots}. Enjoy {discount}% off. Shall we book you in? 😊"


def test_english_has_the_same_rules():
    assert judge_template(GOOD_EN, ENGLISH) == []
    for words, rule in [
        ("Only 3 places left", "digits"), ("See you tomorrow", "own_time"), ("Maria is waiting", "person"), ("Our Maria waits", "proper_name"),
        ("A free coffee for free", "offer"), ("It costs little", "price"), ("We guarantee it", "guarantee"), ("It heals", "medical"),
        ("As an AI I suggest it", "machine"), ("A manicure too", "service"), ("Call us", "contact"), ("Visit www.x.com", "contact"),
        ("Hurry", "pressure"), ("Sorry", "banned"), ("Buy crypto", "off_topic"), ("Приходите", "alphabet"), ("Another salon is worse", "other_salon"),
        ("You never came", "negation"), ("No need to reply", "negation"), ("We have a new team", "claim"), ("Your visit is free", "offer"),
        ("It is our treat", "offer"), ("Something special", "offer"), ("Every visit is off", "offer"), ("Reply now", "pressure"), ("Last reminder", "pressure"),
        ("Few spots left", "pressure"), ("You must come", "pressure"), ("Your spot is saved", "booked"), ("Everyone has booked", "booked"),
        ("We want you", "unkind"), ("Tell everyone about us", "unkind"), ("You are beautiful", "familiar"), ("You will look perfect", "guarantee"),
        ("A message for the client", "machine"),
        ("Like us", "off_topic"),
        ("It works wonders", "off_topic"),
        ("Off for all", "off_topic"),
        ("Come with them", "off_topic"),
        ("Do it", "off_topic"),
        ("Are you there", "off_topic"),
        ("We need your answer", "pressure"),
    ]:  # fmt: skip
        text = GOOD_EN.replace("Shall", f"{words}. Shall")
        assert rule in {one.rule for one in judge_template(text, ENGLISH)}, words


@given(st.text(max_size=200))
def test_no_text_breaks_the_judge_and_none_at_random_is_good(raw):
    assert judge_template(raw, FACTS) != []
    assert judge_message(raw, FACTS) != []
    judge_template(GOOD.replace("Скидка", f"{raw} Скидка"), FACTS)


@given(st.text(alphabet="0123456789٣Ⅷ½@#$%^&*<>|\\~`_=+/№", min_size=1, max_size=5))
def test_no_sign_or_number_gets_into_a_text(raw):
    assert judge_template(GOOD.replace("Записать", f"{raw} Записать"), FACTS) != []
