"""what sending by several channels needs: templates, known numbers, quality and limits, policies, alerts that are told

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_OLD_KINDS = "'message', 'ack', 'session', 'malformed', 'crm'"
_KINDS = "'message', 'ack', 'session', 'template', 'preference', 'malformed', 'crm'"
_INSTANT = sa.DateTime(timezone=True)
_TEXTS = postgresql.ARRAY(sa.Text)


def upgrade() -> None:
    op.add_column(
        "companies",
        sa.Column("accepted_risks", _TEXTS, server_default="{}", nullable=False, comment="channel policies whose risk the owner has taken in writing"),
    )
    for column in (
        sa.Column("preference", sa.SmallInteger, server_default="0", nullable=False, comment="of a company's accounts the lowest is used first"),
        sa.Column("business_id", sa.Text, comment="the channel's name of the business that owns the number, its templates and its limit"),
        sa.Column("quality", sa.Text, comment="GREEN, YELLOW or RED, as the channel rates the number"),
        sa.Column("clients_a_day", sa.BigInteger, comment="the business's limit of different clients in 24 h; null: none or unknown"),
        sa.Column("new_chats_left", sa.BigInteger, comment="new chats the number may still begin; null: unlimited"),
        sa.Column("checked_at", _INSTANT, comment="when the channel was last asked about the number"),
    ):
        op.add_column("channel_accounts", column)
    op.create_index("ix_channel_accounts_business_id", "channel_accounts", ["business_id"])
    op.create_table(
        "channel_numbers",
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("phone", sa.Text, nullable=False),
        sa.Column("reachable", sa.Boolean, nullable=False),
        sa.Column("contact_id", sa.Text),
        sa.Column("checked_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("channel", "phone", name=op.f("pk_channel_numbers")),
    )
    op.create_table(
        "message_templates",
        sa.Column("business_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("language", sa.Text, nullable=False),
        sa.Column("template_id", sa.Text, comment="the channel's own id"),
        sa.Column("category", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False, comment="APPROVED, PENDING, REJECTED, PAUSED, DISABLED…, in the channel's words"),
        sa.Column("quality", sa.Text),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("parts", _TEXTS, nullable=False, comment="which part of our text stands in each place, in order"),
        sa.Column("named", sa.Boolean, server_default=sa.text("false"), nullable=False, comment="the places have names, not numbers"),
        sa.Column("usable", sa.Boolean, nullable=False, comment="ours to send: all its places are known and it breaks no rule"),
        sa.Column("reason", sa.Text, comment="why it is not usable, or why the channel refused it"),
        sa.Column("synced_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("business_id", "name", "language", name=op.f("pk_message_templates")),
    )
    op.add_column(
        "reactivation_campaigns",
        sa.Column("text_parts", postgresql.JSONB, comment="the text's parts by name, for the places of a template"),
    )
    op.add_column(
        "reactivation_campaigns",
        sa.Column("sent_template", sa.Text, comment="the template that went in the text's place"),
    )
    op.create_index("ix_reactivation_campaigns_company_id_phone", "reactivation_campaigns", ["company_id", "phone"])
    op.create_index(
        "ix_reactivation_campaigns_unsettled",
        "reactivation_campaigns",
        ["account_id", "send_after"],
        postgresql_where=sa.text("status IN ('planned', 'claimed', 'sending')"),
    )
    op.create_index(
        "ix_reactivation_campaigns_unknown",
        "reactivation_campaigns",
        ["account_id", "phone"],
        postgresql_where=sa.text("status = 'unknown'"),
    )
    op.drop_constraint(op.f("ck_inbox_kind"), "inbox")
    op.create_check_constraint(op.f("ck_inbox_kind"), "inbox", f"kind IN ({_KINDS})")
    op.create_index(
        "ix_inbox_waiting_acks", "inbox", ["account_id", "message_id"], postgresql_where=sa.text("kind = 'ack' AND processed_at IS NULL")
    )
    op.create_index("ix_inbox_chats", "inbox", ["account_id", "contact_id"], postgresql_where=sa.text("kind = 'message'"))
    op.add_column("alerts", sa.Column("told_at", _INSTANT, comment="when people were last told of it"))
    op.add_column(
        "alerts",
        sa.Column("told_times", sa.BigInteger, server_default="0", nullable=False, comment="how many of its times they were told of"),
    )
    op.execute("UPDATE alerts SET told_times = times")  # what is old is no news


def downgrade() -> None:
    for name in ("told_times", "told_at"):
        op.drop_column("alerts", name)
    for name in ("ix_inbox_chats", "ix_inbox_waiting_acks"):
        op.drop_index(name)
    op.drop_constraint(op.f("ck_inbox_kind"), "inbox")
    op.execute(f"DELETE FROM inbox WHERE kind NOT IN ({_OLD_KINDS})")
    op.create_check_constraint(op.f("ck_inbox_kind"), "inbox", f"kind IN ({_OLD_KINDS})")
    for name in ("ix_reactivation_campaigns_company_id_phone", "ix_reactivation_campaigns_unknown", "ix_reactivation_campaigns_unsettled"):
        op.drop_index(name)
    for name in ("sent_template", "text_parts"):
        op.drop_column("reactivation_campaigns", name)
    op.drop_table("message_templates")
    op.drop_table("channel_numbers")
    op.drop_index("ix_channel_accounts_business_id")
    for name in ("checked_at", "new_chats_left", "clients_a_day", "quality", "business_id", "preference"):
        op.drop_column("channel_accounts", name)
    op.drop_column("companies", "accepted_risks")
