"""Encounters: images of one individual on one day, told apart by a column and a date."""

from datetime import date, datetime


def parse_day(text: str) -> date | None:
    """The day of a date as ISO 8601 writes it, with or without a time; None for anything else.

    Example:
        >>> parse_day("2024-05-17T09:30:00"), parse_day("17.5.2024")
        (datetime.date(2024, 5, 17), None)
    """
    try:
        return datetime.fromisoformat(text.strip()).date()
    except ValueError:
        return None


def encounter_name(group: str, label: str, day: str) -> str:
    """The name of an encounter: the group, or the label where there is none, and the day.

    Example:
        >>> encounter_name("", "ada", "2024-05-17")
        'ada 2024-05-17'
    """
    return f"{group or label} {day}"
