"""Embedded PostgreSQL and Valkey for machines that have neither."""
