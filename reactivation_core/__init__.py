"""The rules of the business: frames and values in, frames and values out. No input, no output, no clock, no Dagster."""
