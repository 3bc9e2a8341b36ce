"""What a messenger's error means: for the campaign, for the client, for the number, for the template. Tables, and nothing else.

What to add here: codes of a channel and what each calls for (specification: protocols/whatsapp.md, section 1.5). What to keep out: reading
answers (the channel's own file) and acting on them (`reactivation_resources.send_outcomes`, `.inbox`).
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from reactivation_core.account_health import Signal

CampaignEffect = Literal["retry", "hold", "fail"]
"""`retry`: the same message may go later, a bounded number of times. `hold`: the number cannot send now, the message waits for it and no try is
counted. `fail`: this attempt is over."""

ClientEffect = Literal["", "unreachable", "opted_out"]
"""`unreachable`: not on this channel; another channel may reach the client. `opted_out`: no more marketing, for good."""

TemplateEffect = Literal["", "pause", "disable", "resync"]
"""`pause`, `disable`: not to be used until the channel says otherwise. `resync`: what we know of it is out of date."""


@dataclass(frozen=True, slots=True)
class Consequence:
    """What an error calls for. `wait`: how long the same message had better rest before its next try."""

    words: str
    campaign: CampaignEffect
    client: ClientEffect = ""
    account: Signal | None = None
    template: TemplateEffect = ""
    wait: timedelta | None = None
