"""The campaign day: from overdue clients to sent messages."""
