"""The rules of messages: what must be in a text, what must not, each by name.

What to add here: a rule. What to keep out: rules about a text's own words (`message_own_words`).

A text is judged twice over: whether it says its facts, each in its place, and what it says of its own (`message_own_words`).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from reactivation_core import message_words as words
from reactivation_core.message_facts import STAGE_LIMITS, TOTAL_LIMIT, MessageFacts, Stage
from reactivation_core.message_own_words import Setting, broken_by
from reactivation_core.messages import OPT_OUT_LINE, PLACEHOLDER, fact_phrases, render, slot_offers
from reactivation_core.morphology import declined

RULES: Final[Mapping[str, str]] = {
    "answer": "it is not the answer that was asked for",
    "placeholder_missing": "a required placeholder is missing",
    "placeholder_unknown": "there is a placeholder or a bracket that is not allowed",
    "placeholder_repeated": "a placeholder stands twice",
    "placeholder_grammar": "a placeholder stands where its words do not fit",
    "digits": "it holds a number of its own",
    "number_words": "it holds a number, a share or an amount in words",
    "own_time": "it names a time, a day or a season of its own",
    "person": "it names a person of its own",
    "proper_name": "it holds a name or a capital letter that is not among the facts",
    "unknown_word": "it holds a word that the dictionary does not have",
    "service": "it names another service than the one that is due",
    "alphabet": "it holds letters of another alphabet",
    "signs": "it holds signs, markup or line breaks that a plain message does not have",
    "capitals": "it shouts",
    "length": "it is too long",
    "emoji": "it must hold one or two emoji, warm and harmless ones",
    "banned": "it says what must not be said",
    "pressure": "it presses the client",
    "price": "it speaks of money",
    "offer": "it offers what nobody offered",
    "discount": "it tells another discount than the offered one, or one where there is none",
    "guarantee": "it promises, guarantees or boasts",
    "medical": "it makes a medical claim",
    "machine": "it reveals that a system wrote it, or speaks of its task",
    "other_salon": "it speaks of another business, a branch or an address",
    "opt_out": "it speaks of stopping messages in its own words",
    "booked": "it says that the client is booked already",
    "contact": "it holds a link, an address or asks for a call",
    "preamble": "it begins with a preamble",
    "trailer": "it ends with words about the text itself",
    "familiar": "its address is too near, flatters, or knows the client's gender",
    "gender": "it says something of a person in a form that knows the gender",
    "obscene": "it is obscene",
    "unkind": "it is unkind or threatens",
    "voice": "one person speaks in it, not the team",
    "order": "it asks the client for something else than to come, to choose or to answer",
    "claim": "it says that somebody does, did or will do what nobody told",
    "negation": "it says what is not so, or what not to do",
    "off_topic": "it speaks of something that has no place in such a message",
    "repeats": "it is the client's last message over again",
    "name_missing": "it does not address the client by name",
    "slot_missing": "it offers none of the slots",
    "days_missing": "it does not say how long ago the client was here",
    "call_missing": "it does not end with a call to book",
    "stop_missing": "it does not say how to stop messages",
}
"""Every rule by name, and what a text that breaks it does."""

MODEL_PLACEHOLDERS: Final = frozenset({"name", "slots", "discount", "days_phrase", "service", "staff"})


class Offence(NamedTuple):
    """A broken rule: its name, and the words that break it ("" when something is missing)."""

    rule: str
    found: str = ""

    def __str__(self) -> str:
        """The rule and the words, for people and for the model."""
        return f"{self.rule}: {RULES[self.rule]}" + (f" ({self.found})" if self.found else "")


def required_placeholders(facts: MessageFacts) -> list[str]:
    """The placeholders that a model's text must hold: those of the facts that are there, but the service's title."""
    phrases = fact_phrases(facts)
    return [name for name in ("name", "days_phrase", "slots", "discount", "staff") if phrases[name]]


def judge_template(template: str, facts: MessageFacts) -> list[Offence]:
    """What is wrong with a text in which placeholders stand for the facts, as a model writes it; nothing when it may be filled and sent."""
    phrases = fact_phrases(facts)
    found = PLACEHOLDER.findall(template)
    offences = [
        Offence("placeholder_missing", f"{{{name}}}") for name in required_placeholders(facts) if name not in found
    ]
    foreign = [name for name in found if name not in MODEL_PLACEHOLDERS or not phrases[name]]
    if foreign or re.search(r"[{}\[\]]", PLACEHOLDER.sub("", template)):
        offences.append(Offence("placeholder_unknown", f"{{{foreign[0]}}}" if foreign else "{ } [ ]"))
    offences += [
        Offence("placeholder_repeated", f"{{{name}}}") for name in sorted({n for n in found if found.count(n) > 1})
    ]
    offences += list(_misfits(template, facts))
    if facts.previous and _plain(template) == _plain(facts.previous):
        offences.append(Offence("repeats"))
    if offences:
        return offences + [one for one in _own_words(template, facts) if one not in offences]
    try:
        text = render(template, facts)
    except ValueError as error:
        too_long = "exceeds" in str(error)
        return [
            Offence("length" if too_long else "placeholder_grammar", "" if too_long else "{staff}"),
            *_own_words(template, facts),
        ]
    return list(dict.fromkeys([*_own_words(template, facts), *judge_message(text, facts)]))


def judge_message(text: str, facts: MessageFacts) -> list[Offence]:
    """What is wrong with a final text; nothing when it may be sent."""
    body = _body(text, facts.tongue)
    own = unfilled(body, facts)
    phrases = fact_phrases(facts)
    unsaid = [
        ("slot_missing", bool(facts.slots) and "{slots}" not in own),
        ("days_missing", "{days_phrase}" not in own),
        ("discount", bool(phrases["discount"]) and "{discount}%" not in own),
    ]
    found = _form(text, body, facts.tongue, facts.stage, phrases["name"], first_contact=facts.first_contact)
    found += [Offence(rule) for rule, is_broken in unsaid if is_broken]
    return list(dict.fromkeys([*found, *_own_words(own, facts)]))


def judge_stored(
    text: str, parts: Mapping[str, str], *, language: str, stage: Stage, business: str, first_contact: bool
) -> list[Offence]:
    """What is wrong with a text that was stored with the wording of its facts (`whatsapp_templates.text_parts`).

    For checks of what is about to be sent: it needs no fact that may have changed since the text was written.
    """
    tongue = "en" if language == "en" else "ru"
    body = _body(text, tongue)
    own = _taken_out(body, parts, [parts.get("slots", "")])
    kind = business if business in words.BUSINESS_SERVICES else "other"
    setting = Setting(
        tongue, stage, kind, bool(parts.get("discount")), parts.get("service", ""), parts.get("salon", ""), ()
    )
    found = _form(text, body, tongue, stage, parts.get("name", ""), first_contact=first_contact)
    return [*found, *(Offence(rule, hit) for rule, hit in broken_by(own, setting))]


def _body(text: str, tongue: str) -> str:
    """The text without the line on how to stop."""
    return text.removesuffix(OPT_OUT_LINE[tongue]).rstrip()


def _form(text: str, body: str, tongue: str, stage: Stage, name: str, *, first_contact: bool) -> list[Offence]:
    """The rules about a final text's form."""
    broken = [
        ("placeholder_unknown", bool(re.search(r"[{}\[\]]", body))),
        ("length", len(body) > STAGE_LIMITS[stage] or len(text) > TOTAL_LIMIT),
        ("name_missing", name not in body),
        ("call_missing", not words.CALL.search(body[-words.CALL_WITHIN :])),
        ("stop_missing", first_contact and not text.endswith(f"\n{OPT_OUT_LINE[tongue]}")),
    ]
    return [Offence(rule) for rule, is_broken in broken if is_broken]


def _own_words(own: str, facts: MessageFacts) -> list[Offence]:
    service, salon = fact_phrases(facts)["service"], facts.salon
    discounted = facts.discount_percent > 0
    setting = Setting(facts.tongue, facts.stage, facts.business, discounted, service, salon, facts.other_services)
    return [Offence(rule, found) for rule, found in broken_by(own, setting)]


def unfilled(body: str, facts: MessageFacts) -> str:
    """The text with a placeholder wherever it says a fact: what is left is of its own."""
    return _taken_out(body, fact_phrases(facts), slot_offers(facts))


def _taken_out(body: str, phrases: Mapping[str, str], offers: Sequence[str]) -> str:
    """The body with placeholders for the phrases that it says; of the slots it says one of the `offers`."""
    known = [(offer, "slots") for offer in offers]
    known += [(phrases.get(name, ""), name) for name in ("days_phrase", "service", "name")]
    known += [(form, "staff") for form in _forms(phrases.get("staff", ""))]
    discount = phrases.get("discount")
    own = re.sub(rf"(?<!\d){discount} ?%", "{discount}%", body) if discount else body
    for said, name in known:
        if said:
            flags = re.NOFLAG if name in {"name", "staff"} else re.IGNORECASE
            own = re.sub(rf"(?<![\w{{]){re.escape(said)}(?!\w)", f"{{{name}}}", own, flags=flags)
    return own


def _forms(name: str) -> list[str]:
    """A staff member's name in all cases, the longest first."""
    forms = (
        {name, *(declined(name, case) or "" for case in ("gent", "datv", "accs", "ablt", "loct"))} if name else set()
    )
    return sorted(filter(None, forms), key=lambda form: (-len(form), form))


def _plain(template: str) -> str:
    return " ".join(template.casefold().split())


# ---------------------------------------------------------------- placeholders in their places

_BEFORE_DAYS: Final = words.set_of(
    "за через на в около почти больше более меньше менее свыше до от после из с со к о об до"
)
_BEFORE_SLOTS: Final = words.set_of("в во на к с со до от после")
_ADDRESS_BEFORE = re.compile(r"(?:^|[,!.?…]\s|[^\w\s,.]\s)$")
_ADDRESS_AFTER = re.compile(r"^\s?[,!.?…]|^$")


def _misfits(template: str, facts: MessageFacts) -> Iterator[Offence]:
    """Placeholders whose words would not fit: a name that is not an address, a date after a preposition, a bare discount."""
    for match in PLACEHOLDER.finditer(template):
        before, after = template[: match.start()], template[match.end() :]
        last = re.search(r"([^\W\d_]+)\s+$", before)
        word = last[1].casefold() if last else ""
        name = match[1]
        if facts.tongue == "en":
            misfit = name == "discount" and not after.startswith("%")
        elif name == "name":
            addressed = _ADDRESS_BEFORE.search(before) or re.search(
                r"(?:привет|здравствуйте|день)\s$", before, re.IGNORECASE
            )
            misfit = not (addressed and _ADDRESS_AFTER.search(after))
        elif name == "slots":
            misfit = word in _BEFORE_SLOTS
        elif name == "days_phrase":
            misfit = word in _BEFORE_DAYS or (
                word.startswith("прош") and fact_phrases(facts)[name].endswith(("месяц", "год"))
            )
        else:
            misfit = name == "discount" and not re.match(r"\s?%", after)
        if misfit:
            yield Offence("placeholder_grammar", (f"{last[0] if last else ''}{match[0]}{after[:8]}").strip())
