"""what writing by a model needs: its answers, why some were rejected, what was spent, and how each message was written

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "model_answers",
        sa.Column("content_hash", sa.Text, nullable=False),
        sa.Column("purpose", sa.Text, nullable=False, comment="message or interval"),
        sa.Column("company_id", sa.BigInteger, nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("at", _INSTANT, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("prompt_version", sa.Text, nullable=False),
        sa.Column("text", sa.Text, comment="the accepted answer, with placeholders; null: none was"),
        sa.Column("failure", sa.Text, comment="why none was accepted"),
        sa.Column("answers", sa.SmallInteger, nullable=False),
        sa.Column("requests", sa.SmallInteger, nullable=False),
        sa.Column("input_tokens", sa.BigInteger, nullable=False),
        sa.Column("output_tokens", sa.BigInteger, nullable=False),
        sa.Column("cost_micros", sa.BigInteger, nullable=False, comment="millionths of a dollar"),
        sa.Column("latency_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("content_hash", name=op.f("pk_model_answers")),
    )
    op.create_index("ix_model_answers_day", "model_answers", ["day"])
    op.create_table(
        "model_rejections",
        sa.Column("rejection_id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("content_hash", sa.Text, nullable=False),
        sa.Column("company_id", sa.BigInteger, nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("at", _INSTANT, nullable=False),
        sa.Column("rule", sa.Text, nullable=False, comment="the broken rule, by name"),
        sa.Column("found", sa.Text, nullable=False, comment="the words that broke it"),
        sa.Column("answer", sa.Text, nullable=False, comment="the rejected text, with placeholders"),
        sa.PrimaryKeyConstraint("rejection_id", name=op.f("pk_model_rejections")),
    )
    op.create_index("ix_model_rejections_day", "model_rejections", ["day"])
    op.create_table(
        "model_spending",
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("company_id", sa.BigInteger, nullable=False, comment="0: all companies together"),
        sa.Column("spent_micros", sa.BigInteger, server_default="0", nullable=False, comment="millionths of a dollar, reserved ones included"),
        sa.PrimaryKeyConstraint("day", "company_id", name=op.f("pk_model_spending")),
    )
    op.add_column(
        "reactivation_campaigns",
        sa.Column(
            "writing",
            postgresql.JSONB,
            comment="how the text was written: model, prompt_version, answers, requests, tokens, cost in millionths of a dollar, latency, why a template",
        ),
    )


def downgrade() -> None:
    op.drop_column("reactivation_campaigns", "writing")
    for table in ("model_spending", "model_rejections", "model_answers"):
        op.drop_table(table)
