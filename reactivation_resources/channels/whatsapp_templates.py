"""Asking WhatsApp for a business's templates, and handing new ones in for review.

What to add here: the calls and what their answers hold. What to keep out: rules about templates and where they are kept.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from reactivation_core.channel_errors import cloud_consequence
from reactivation_core.whatsapp_templates import EXAMPLES, Template
from reactivation_resources.channels.wire import Wire, json_object
from reactivation_resources.template_registry import Kept, TemplatesError

PAGE = 100
_FIELDS = "id,name,language,status,category,components,parameter_format,quality_score,rejected_reason"


class WhatsAppTemplates:
    """A business's templates at the Cloud API. Arguments as of `WhatsAppCloud`."""

    def __init__(self, base_url: str, access_token: str, *, timeout_s: float = 30.0) -> None:
        headers = {"Authorization": f"Bearer {access_token}"}
        self._wire = Wire(base_url, headers, timeout_s=timeout_s)

    def close(self) -> None:
        """Close open connections."""
        self._wire.close()

    def list(self, business_id: str) -> tuple[list[Kept], list[str]]:
        """All templates of a business, and words about those that could not be read. Raises TemplatesError."""
        kept: list[Kept] = []
        unreadable: list[str] = []
        query = {"fields": _FIELDS, "limit": str(PAGE)}
        while True:
            answer = self._ask(business_id, query)
            rows = answer.get("data")
            for row in rows if isinstance(rows, list) else ():
                try:
                    kept.append(_kept(row))
                except (KeyError, TypeError, ValueError) as error:
                    unreadable.append(f"{row.get('name') if isinstance(row, dict) else row!r}: {error}")
            paging = answer.get("paging")
            after = _after(paging) if isinstance(paging, dict) else None
            if after is None or not rows:
                return kept, unreadable
            query["after"] = after

    def submit(self, business_id: str, template: Template) -> str:
        """Hand a template in for review; returns the channel's id of it. Raises TemplatesError."""
        language = template.language.partition("_")[0]
        examples = [[EXAMPLES[language].get(part, part) for part in template.parts]]
        body: dict[str, Any] = {"type": "BODY", "text": template.body}
        if template.parts:
            body["example"] = {"body_text": examples}
        buttons = {"type": "BUTTONS", "buttons": [{"type": "QUICK_REPLY", "text": words} for words in template.buttons]}
        try:
            response = self._wire.post(
                f"/{business_id}/message_templates",
                {
                    "name": template.name,
                    "language": template.language,
                    "category": template.category,
                    "components": [body, buttons] if template.buttons else [body],
                },
            )
        except httpx.HTTPError as error:
            raise TemplatesError(f"Graph does not answer: {type(error).__name__}") from None
        answer = self._checked(response)
        return str(answer.get("id") or "")

    def _ask(self, business_id: str, query: Mapping[str, str]) -> dict[str, Any]:
        try:
            return self._checked(self._wire.get(f"/{business_id}/message_templates", query))
        except httpx.HTTPError as error:
            raise TemplatesError(f"Graph does not answer: {type(error).__name__}") from None

    def _checked(self, response: httpx.Response) -> dict[str, Any]:
        answer = json_object(response)
        if response.is_success:
            return answer
        error = answer.get("error")
        if not isinstance(error, dict) or not isinstance(error.get("code"), int):
            raise TemplatesError(f"Graph answered HTTP {response.status_code}")
        words = error.get("error_user_msg") or cloud_consequence(error["code"], response.status_code).words
        raise TemplatesError(f"{error['code']}: {words}")


def _after(paging: Mapping[str, Any]) -> str | None:
    cursors = paging.get("cursors")
    after = cursors.get("after") if isinstance(cursors, dict) and paging.get("next") else None
    return after if isinstance(after, str) else None


def _kept(row: Mapping[str, Any]) -> Kept:
    """A template of Graph's. Raises KeyError, TypeError or ValueError for one that lacks what every template has."""
    parts: Sequence[Mapping[str, Any]] = row["components"]
    body = next((part["text"] for part in parts if part.get("type") == "BODY"), None)
    if not isinstance(body, str):
        raise ValueError("it has no body")  # noqa: TRY004 - what came in is wrong, not our code
    buttons = [one for part in parts if part.get("type") == "BUTTONS" for one in part.get("buttons", ())]
    replies = tuple(str(one.get("text")) for one in buttons if one.get("type") == "QUICK_REPLY")
    quality = row.get("quality_score")
    reason = row.get("rejected_reason")
    template = Template(
        name=str(row["name"]),
        language=str(row["language"]),
        body=body,
        parts=(),
        category=str(row["category"]),
        buttons=replies,
        quality=str(quality["score"]) if isinstance(quality, dict) and quality.get("score") else None,
        named=row.get("parameter_format") == "NAMED",
    )
    return Kept(
        template, str(row["id"]), str(row["status"]), reason if isinstance(reason, str) and reason != "NONE" else None
    )
