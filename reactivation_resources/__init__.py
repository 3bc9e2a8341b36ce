"""The outside world, one door each: plain objects built from settings."""
