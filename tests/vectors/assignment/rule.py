"""Whether a rule holds for a user: an implementation of its own of what core/src/rule.rs documents, with nothing but
Python's standard library. Numbers are exact decimals.
"""

import datetime
import decimal
import ipaddress
import json
import re

decimal.getcontext().prec = 2_000
decimal.getcontext().Emax = 10**9
decimal.getcontext().Emin = -(10**9)
MISSING = object()
TYPES = {str: "string", decimal.Decimal: "number", bool: "boolean", list: "array", dict: "object"}


def parse(text):
    return json.loads(text, parse_int=decimal.Decimal, parse_float=decimal.Decimal)


def comparable(number):
    """At most 28 digits before the point and 28 behind it, and at most 28 from the first to the last."""
    _, digits, exponent = number.as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    while text.endswith("0"):
        text, exponent = text[:-1], exponent + 1
    return not text or (len(text) <= 28 and len(text) + exponent <= 28 and exponent >= -28)


def same(left, right):
    """Equal, and of the same type: to Python, True is 1."""
    if type(left) is not type(right) or not isinstance(left, (str, bool, decimal.Decimal)):
        return False
    if isinstance(left, decimal.Decimal) and not (comparable(left) and comparable(right)):
        return False
    return left == right


def lower(text):
    return "".join(character.lower() for character in text)


def version(text):
    """A key to sort by, as https://semver.org/#spec-item-11 says."""
    if re.match(r"[0-9]{4}-[0-9]", text):
        return None
    digits = r"(0|[1-9][0-9]*)"
    identifiers = r"([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)"
    found = re.fullmatch(rf"v?{digits}(?:\.{digits}(?:\.{digits})?)?(?:-{identifiers})?(?:\+{identifiers})?", text)
    if not found:
        return None
    release = tuple(int(part or 0) for part in found.group(1, 2, 3))
    if any(part >= 2**64 for part in release):
        return None
    if found.group(4) is None:
        return release, 1, ()
    parts = []
    for part in found.group(4).split("."):
        if part.isdigit():
            if part != "0" and part.startswith("0"):
                return None
            parts.append((0, int(part), ""))
        else:
            parts.append((1, 0, part))
    return release, 0, tuple(parts)


def time(text):
    found = re.fullmatch(
        r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
        r"(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?([Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?",
        text,
    )
    if not found:
        return None
    year, month, day, hour, minute, second, fraction, offset = found.groups()
    try:
        date = datetime.date(int(year), int(month), int(day))
    except ValueError:
        return None
    hour, minute, second = int(hour or 0), int(minute or 0), int(second or 0)
    if hour > 23 or minute > 59 or second > 60:
        return None
    east = 0
    if offset and offset not in "Zz":
        hours, minutes = int(offset[1:3]), int(offset[3:].lstrip(":") or 0)
        if hours > 23 or minutes > 59:
            return None
        east = (hours * 60 + minutes) * (60 if offset[0] == "+" else -60)
    # A leap second is the one before it, as the library that the engine reads times with has it.
    second = min(second, 59)
    seconds = date.toordinal() * 86_400 + hour * 3_600 + minute * 60 + second - east
    return seconds, int((fraction or "").ljust(9, "0"))


def address(text):
    try:
        if "%" in text:
            return None
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def network(text):
    found = ipaddress.ip_network(text, strict=False)
    if found.version == 6 and found.prefixlen >= 96 and found.network_address.ipv4_mapped:
        found = ipaddress.ip_network((found.network_address.ipv4_mapped, found.prefixlen - 96))
    return found


def ordered(attribute, value):
    """The two in a form that compares, or nothing."""
    if isinstance(value, decimal.Decimal):
        if type(attribute) is decimal.Decimal and comparable(attribute):
            return attribute, value
        return None
    read = time if time(value) is not None else version
    if type(attribute) is not str or read(attribute) is None:
        return None
    return read(attribute), read(value)


ORDERS = {
    "greater": lambda left, right: left > right,
    "greater_or_equal": lambda left, right: left >= right,
    "less": lambda left, right: left < right,
    "less_or_equal": lambda left, right: left <= right,
    "before": lambda left, right: left < right,
    "after": lambda left, right: left > right,
}
TEXTS = {
    "contains": lambda text, value: value in text,
    "starts_with": str.startswith,
    "ends_with": str.endswith,
    "equals": str.__eq__,
    "in": str.__eq__,
}


def condition(operator, attribute, values):
    if operator == "exists":
        return (attribute is not None) == (values[0] if values else True)
    if attribute is None:
        return False
    if operator in ("equals", "in"):
        return any(same(attribute, value) for value in values)
    if operator in ("not_equals", "not_in"):
        if type(attribute) is decimal.Decimal and not comparable(attribute):
            return False
        return any(type(attribute) is type(value) for value in values) and not any(
            same(attribute, value) for value in values
        )
    if operator == "type":
        return TYPES[type(attribute)] in values
    if operator in ("any_of", "all_of"):
        if not isinstance(attribute, list):
            return False
        found = [any(same(item, value) for item in attribute) for value in values]
        return any(found) if operator == "any_of" else all(found)
    if operator in ORDERS:
        pair = ordered(attribute, values[0])
        return pair is not None and ORDERS[operator](*pair)
    if not isinstance(attribute, str):
        return False
    if operator.endswith("_ignore_case"):
        test = TEXTS[operator.removesuffix("_ignore_case")]
        return any(test(lower(attribute), lower(value)) for value in values)
    if operator == "regex":
        return len(attribute.encode()) <= 4_096 and any(re.search(value, attribute) for value in values)
    if operator == "in_cidr":
        found = address(attribute)
        return found is not None and any(
            found.version == network(value).version and found in network(value) for value in values
        )
    return any(TEXTS[operator](attribute, value) for value in values)


def holds(rule, user_id, context, segments):
    if "all" in rule:
        return all([holds(inner, user_id, context, segments) for inner in rule["all"]])
    if "any" in rule:
        return any([holds(inner, user_id, context, segments) for inner in rule["any"]])
    if "not" in rule:
        return not holds(rule["not"], user_id, context, segments)
    if rule["operator"] == "in_segment":
        return any([segments.get(key, False) for key in rule["values"]])
    if rule["attribute"] == "user_id":
        attribute = user_id
    else:
        attribute = context
        for name in rule["attribute"].split("."):
            attribute = attribute.get(name) if isinstance(attribute, dict) else None
    return condition(rule["operator"], attribute, rule.get("values", []))
