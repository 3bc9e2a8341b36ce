"""what a live mirror needs: progress of first loads, the trace of changed journals, hints of the CRM

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_STATUSES = "'active', 'frozen', 'uninstalled', 'no_access'"
_KINDS = "'message', 'ack', 'session', 'malformed'"

# Whoever changes the journal leaves a trace of whose it was, at the version that the change raises. The version's row is locked until the
# writer commits: versions become visible in their order, and a reader who has seen one has seen all before it.


def _function(name: str, sources: tuple[str, ...]) -> str:
    rows = " UNION ALL ".join(f"SELECT company_id, client_id FROM {source} WHERE client_id IS NOT NULL" for source in sources)
    return f"""
CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  raised bigint;
BEGIN
  IF NOT EXISTS (SELECT FROM {sources[0]}) THEN
    RETURN NULL;
  END IF;
  INSERT INTO mirror_versions (name, version) VALUES ('records', extract(epoch FROM clock_timestamp()) * 1000000)
  ON CONFLICT (name) DO UPDATE SET version = greatest(mirror_versions.version + 1, excluded.version)
  RETURNING version INTO raised;
  INSERT INTO visit_changes (company_id, client_id, version)
  SELECT DISTINCT company_id, client_id, raised FROM ({rows}) touched ORDER BY company_id, client_id
  ON CONFLICT (company_id, client_id) DO UPDATE SET version = excluded.version;
  RETURN NULL;
END $$
"""


_EVENTS = {
    "INSERT": ("note_visits_added", "NEW TABLE AS added", ("added",)),
    "UPDATE": ("note_visits_changed", "OLD TABLE AS before NEW TABLE AS after", ("before", "after")),
    "DELETE": ("note_visits_removed", "OLD TABLE AS removed", ("removed",)),
}


def upgrade() -> None:
    for column, kind, comment in (
        ("load_started_at", sa.DateTime(timezone=True), "when the first load began"),
        ("loaded_back_to", sa.Date(), "the first load has the journal from this local day on"),
        (
            "catalogue_at",
            sa.DateTime(timezone=True),
            "when the company's card, services, staff and the list of its clients were last compared with the CRM",
        ),
    ):
        op.add_column("companies", sa.Column(column, kind, nullable=True, comment=comment))
    op.alter_column(
        "companies",
        "changed_after",
        comment="the mirror's watermark; null: not mirrored yet",
        existing_comment="the mirror's watermark",
        existing_type=sa.DateTime(timezone=True),
        existing_nullable=True,
    )
    _one_of("companies", "crm_status", f"{_STATUSES}, 'suspended'")
    _one_of("inbox", "kind", f"{_KINDS}, 'crm'")
    op.create_table(
        "visit_changes",
        sa.Column("company_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("client_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False, comment="the version of `records` that the change raised"),
        sa.PrimaryKeyConstraint("company_id", "client_id", name=op.f("pk_visit_changes")),
    )
    op.create_index(op.f("ix_visit_changes_version"), "visit_changes", ["version"])
    op.create_index(op.f("ix_suppressions_inbox_id"), "suppressions", ["inbox_id"])
    for event, (function, tables, sources) in _EVENTS.items():
        op.execute(_function(function, sources))
        op.execute(
            f"CREATE TRIGGER {function} AFTER {event} ON record_lines REFERENCING {tables}"
            f" FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
        )


def downgrade() -> None:
    for function, _, _ in _EVENTS.values():
        op.execute(f"DROP TRIGGER {function} ON record_lines")
        op.execute(f"DROP FUNCTION {function}()")
    op.drop_index(op.f("ix_suppressions_inbox_id"), "suppressions")
    op.drop_table("visit_changes")
    op.execute("DELETE FROM inbox WHERE kind = 'crm'")
    op.execute("UPDATE companies SET crm_status = 'frozen' WHERE crm_status = 'suspended'")
    _one_of("inbox", "kind", _KINDS)
    _one_of("companies", "crm_status", _STATUSES)
    op.alter_column(
        "companies",
        "changed_after",
        comment="the mirror's watermark",
        existing_comment="the mirror's watermark; null: not mirrored yet",
        existing_type=sa.DateTime(timezone=True),
        existing_nullable=True,
    )
    for column in ("catalogue_at", "loaded_back_to", "load_started_at"):
        op.drop_column("companies", column)


def _one_of(table: str, column: str, values: str) -> None:
    op.drop_constraint(op.f(f"ck_{table}_{column}"), table)
    op.create_check_constraint(op.f(f"ck_{table}_{column}"), table, f"{column} IN ({values})")
