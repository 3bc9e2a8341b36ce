"""The command `reactivation`."""
