"""The Dagster code location: a thin shell that reads, calls the core and writes."""
