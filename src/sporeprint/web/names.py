"""Names of the configuration as people read them."""

import re


def spaced(name: str) -> str:
    """Words for a name in lower case without blanks, as cap-shape; every other name stands as the table has it.

    >>> spaced("cap-shape"), spaced("E-Mail?"), spaced("Total_Bill")
    ('cap shape', 'E-Mail?', 'Total_Bill')
    """
    return re.sub("[-_]", " ", name) if re.fullmatch(r"[\w-]+", name) and name == name.lower() else name


def label_of(name: str) -> str:
    """What people call a column: "Cap shape" for cap-shape, "kWh a day" as it stands."""
    text = spaced(name).strip()
    return text[:1].upper() + text[1:] if name == name.lower() else text


def plural(word: str) -> str:
    """More than one of it: patient -> patients, family -> families, species -> species."""
    if word.endswith("s"):
        return word
    return f"{word[:-1]}ies" if word.endswith("y") and word[-2:-1] not in "aeiou" else f"{word}s"
