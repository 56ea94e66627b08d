"""Formatting of numbers, durations and untrusted text for people."""

import math


def format_number(value: float) -> str:
    """Format a number with at most four digits: 0.0123, 2e-4, 12,300."""
    if not math.isfinite(value):
        return "not a number"
    if value == 0:
        return "0"
    size = abs(value)
    if size < 9.995e-4 or size >= 1e6:
        mantissa, _, exponent = f"{value:.3g}".partition("e") if size < 1e-4 else f"{value:.2e}".partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return f"{mantissa}e{int(exponent)}"
    return f"{value:,.0f}" if size >= 1000 else f"{value:.4g}"


def format_count(value: float) -> str:
    """Format a whole number with thousands separators: 25,600."""
    return f"{value:,.0f}"


def format_duration(seconds: float) -> str:
    """Format seconds: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def one_line(text: object, max_length: int = 60) -> str:
    """Reduce untrusted text to one line of at most `max_length` printable characters."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in str(text)).split())
    return line if len(line) <= max_length else line[: max_length - 1] + "…"


def symptom_words(symptom: str, max_length: int = 60) -> str:
    """Format a symptom id as words: mode_collapse as "mode collapse"."""
    return one_line(symptom.replace("_", " "), max_length)
