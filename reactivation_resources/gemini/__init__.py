"""The door to Gemini: asking a model, within the limits of rate, money and patience."""
