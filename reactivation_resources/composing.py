"""Lets the model write a message, judges it, asks once more with the complaint, and falls back to a text of people.

What to add here: when the model's text is used and when it is not. What to keep out: facts (`message_writing`), rules
(`reactivation_core.message_rules`) and asking (`gemini`). The daily run and the preview of a message use the same code.
"""

from dataclasses import dataclass

from reactivation_core.message_facts import MessageFacts, Stage
from reactivation_core.message_prompt import ANSWER_SCHEMA, Prompt, message_prompt, read_answer
from reactivation_core.message_rules import Offence, judge_message, judge_template
from reactivation_core.message_templates import TemplateBook, template_messages
from reactivation_core.messages import render
from reactivation_resources.asking import Complaint, ask_until_accepted
from reactivation_resources.gemini.client import Gemini
from reactivation_resources.model_ledger import Prices, Rejection, Remembered


class UnfitTextError(ValueError):
    """A text that breaks the rules of messages was about to be stored."""


@dataclass(frozen=True, slots=True)
class Order:
    """A message to write: its facts, a stable key of the client, and the number of the attempt."""

    facts: MessageFacts
    client_key: str
    attempt: int = 1

    @property
    def prompt(self) -> Prompt:
        """What the model is asked."""
        return message_prompt(self.facts, self.client_key, self.attempt)


@dataclass(frozen=True, slots=True)
class Message:
    """A message that may be sent.

    Attributes:
        text: Final, with the client's name.
        text_template: With placeholders.
        template_id: Of a text of people; None when the model wrote it.
        source: "gemini" or "template".
        fallback: Why it is not the model's.
    """

    text: str
    text_template: str
    template_id: str | None
    stage: Stage
    source: str
    fallback: str | None = None


async def ask_for(order: Order, model: Gemini, prices: Prices) -> tuple[Remembered, tuple[Rejection, ...]]:
    """Ask the model for a message: an accepted text or the reason for none, what it took, and what was rejected."""

    def judge(raw: str) -> tuple[str, list[Complaint]]:
        text = read_answer(raw)
        offences = [Offence("answer")] if text is None else judge_template(text, order.facts)
        return text or raw, [Complaint(one.rule, one.found, str(one)) for one in offences]

    return await ask_until_accepted(model, order.prompt, ANSWER_SCHEMA, judge, prices)


def finished(order: Order, written: Remembered | None, reason: str | None, book: TemplateBook | None = None) -> Message:
    """The message: the model's text where there is an accepted one that fits the facts, else a text of people.

    Raises:
        UnfitTextError: If every text of people breaks a rule.
    """
    facts = order.facts
    fallback = reason or (written.failure if written is not None else "no_key")
    if written is not None and written.text is not None:
        if not judge_template(written.text, facts):
            return Message(render(written.text, facts), written.text, None, facts.stage, "gemini")
        fallback = "outdated"
    complaints = []
    for own in template_messages(facts, order.client_key, order.attempt, book):
        if not (offences := judge_message(own.text, facts)):
            return Message(own.text, own.text_template, own.template_id, own.stage, "template", fallback)
        complaints.append(
            f"{own.template_id}: {', '.join(one.rule for one in offences)}"
        )  # no words: they may be a name
    raise UnfitTextError("no text of people fits: " + " | ".join(complaints))


def refilled(order: Order, text_template: str, book: TemplateBook | None = None) -> str:
    """The text again, in the words it was first written in where they fit the facts as they are now, else in other ones."""
    try:
        text = render(text_template, order.facts)
    except ValueError:
        text = ""
    if text and not judge_message(text, order.facts):
        return text
    return finished(order, None, None, book).text
