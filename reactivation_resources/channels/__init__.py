"""Messaging channels: one interface, one file each."""
