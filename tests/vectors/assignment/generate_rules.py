"""Writes rules.json: rules, the users they are asked about, and whether they hold by rule.py.

Rules and contexts are written as JSON text, so that numbers keep the digits they were given. Run from this folder:
python3 generate_rules.py
"""

import itertools
import json
import random

from rule import MISSING, holds, parse

random.seed(20_000_103)

cases = []
seen = set()


def case(rule, context="{}", user_id="user_1", segments=None):
    segments = segments or {}
    line = (
        f'{{"rule": {rule}, "user_id": {json.dumps(user_id, ensure_ascii=False)}, "context": {context}, '
        f'"segments": {json.dumps(segments)}, "expected": '
    )
    if line not in seen:
        seen.add(line)
        expected = holds(parse(rule), user_id, parse(context), segments)
        cases.append(line + ("true}" if expected else "false}"))


def cross(operators, lists, attributes):
    for operator, values, attribute in itertools.product(operators, lists, attributes):
        context = "{}" if attribute is MISSING else f'{{"a": {attribute}}}'
        case(f'{{"attribute": "a", "operator": "{operator}", "values": {values}}}', context)


# What every operator meets besides what it is made for.
OTHERS = [MISSING, "null", "true", "12", '"12"', '""', "[]", '["12"]', "{}", '{"a": "12"}', "1e40"]

SCALARS = OTHERS + ["false", "1", "0", "-0.0", "1.0", '"NZ"', '"nz"', '"true"', '"é"', '"e\\u0301"', '"\\u00e9"', "[true]"]
cross(["equals", "not_equals"], ['["NZ"]', '["é"]', '[""]', '["12"]', "[12]", "[1]", "[0]", "[true]", "[false]"], SCALARS)
cross(["in", "not_in"], ['["NZ", "AU"]', '["12", 12]', "[1, 2.50, 12]", "[true]", '["nz", 0, false]'], SCALARS)
cross(
    ["equals", "not_equals", "greater", "greater_or_equal", "less", "less_or_equal"],
    ["[9007199254740993]", "[0.1]", "[-1.5e3]", "[1e-28]", "[9999999999999999999999999999]"],
    ["9007199254740992", "9007199254740993", "9007199254740993.0", "9007199254740994", "0.1", "0.10", "1e-1",
     "0.1000000000000000000000000001", "0.1000000000000000055511151231257827", "-1500", "-1500.0000000001", "-1499.9", "1e-28", "2E-28", "0", "1e-29",
     "9999999999999999999999999999", "9999999999999999999999999998", "1e27", "1e28", "12345678901234567890123456789", "-9999999999999999999999999999"],
)
cross(["greater", "greater_or_equal", "less", "less_or_equal"], ["[12]", "[0]", '["12"]', '["2024-01-01"]'], OTHERS)
VERSIONS = ["1.2.3", "1.2.3-alpha", "1.2.3-alpha.1", "1.2.3-alpha.beta", "1.2.3-beta.2", "1.2.3-beta.11", "1.2.3-rc.1", "1.2.4", "1.10.0",
            "1.2", "1", "v1.2.3", "v1", "17", "17.2", "17.2-beta", "1.2.3+build.7", "1.2.3-beta.2+build", "0.0.0", "0.0.0-0", "18446744073709551615.0.0"]
NO_VERSIONS = ["18446744073709551616.0.0", "01.2.3", "1.02", "1.2.3.4", "1.2.3-", "1.2.3-01", "1.2.3-a..b", "1.2.3+", "", "v", "V1.2.3", "vv1", " 1.2.3", "1.2.3 ", "1.x",
               "1..2", "1.", ".1", "-1", "+1", "2024-1-1", "2024-01-01", "1.2.3-é", "1,2", "iOS 17"]
cross(["greater_or_equal", "less"], ['["1.2.3"]', '["v1.2.3-beta.2"]', '["17"]', '["17.2.0-beta+x"]'], [f'"{text}"' for text in VERSIONS + NO_VERSIONS])
cross(["greater", "less_or_equal"], [f'["{text}"]' for text in VERSIONS[:8]], [f'"{text}"' for text in VERSIONS[:8]])
TIMES = ["2024-01-01", "2024-01-01T00:00:00Z", "2024-01-01T00:00:00", "2024-01-01 00:00", "2024-01-01t00:00:00z", "2024-01-01T13:00:00+13:00", "2024-01-01T13:00+13",
         "2023-12-31T19:00:00-0500", "2023-12-31T23:59:59.999999999Z", "2024-01-01T00:00:00.000000001", "2024-01-01T00:00:00.5+00:00", "2023-12-31T23:59:60Z",
         "2024-02-29", "9999-12-31", "9999-12-31T23:59:59-23:59", "0001-01-01", "1969-12-31T23:59:59.5Z", "2024-01-01T00:00:00-00:00"]
NO_TIMES = ["2024-1-1", "20240101", "2024-02-30", "2023-02-29", "2024-01-01T", "2024-01-01T24:00:00", "2024-01-01T00:60", "2024-01-01T00:00:61", "2024-01-01T00:00:00.",
            "2024-01-01T00:00:00.1234567890", "2024-01-01T00:00:00+26:00", "2024-01-01T00:00:00+1:00", "2024-01-01T00:00:00 Z", "2024-01-01Z", "2024-W01-1", "24-01-01",
            "2024-01-01T00:00:00Z[UTC]", "12024-01-01", "-2024-01-01", "2024-01-01T0:00", "٢٠٢٤-01-01", "now", "2024-13-01", "2024-00-01", "2024-01-00"]
cross(["before", "after"], ['["2024-01-01"]', '["2024-01-01T00:00:00.000000001Z"]', '["9999-12-31"]'], [f'"{text}"' for text in TIMES + NO_TIMES] + OTHERS)
cross(["greater_or_equal", "less_or_equal"], ['["2024-01-01T13:00:00+13:00"]', '["1969-12-31T23:59:59.5Z"]'], [f'"{text}"' for text in TIMES + NO_TIMES[:6] + ["1.2.3", "17"]])

PHRASES = ['"Chrome Mobile"', '"chrome mobile"', '"CHROME"', '"x Chrome"', '"Straße"', '"STRASSE"', '"ΟΔΟΣ"', '"οδος"', '"οδοσ"', '"İstanbul"', '"i̇stanbul"',
           '"istanbul"', '"ПРИВЕТ"', '"привет"', '"日本語"', '"😀 ok"', '"Chrome\\nMobile"', '"\\u212a"', '"k"']
cross(["contains", "starts_with", "ends_with", "contains_ignore_case", "starts_with_ignore_case", "ends_with_ignore_case", "in_ignore_case"],
      ['["Chrome"]', '["mobile", "STRASSE", "οδοσ"]', '["ß", "İ", "K", "привет"]'], PHRASES)
cross(["contains", "starts_with", "ends_with", "contains_ignore_case", "starts_with_ignore_case", "ends_with_ignore_case"], ['[""]', '["12"]', '["😀", "語"]'], OTHERS + ['"日本語"', '"😀 ok"', '"012"', '"120"'])
cross(["equals_ignore_case"], ['["Chrome"]', '["STRASSE"]', '["ΟΔΟΣ"]', '["İstanbul"]', '["12"]', '[""]', '["k"]'], PHRASES + OTHERS)

cross(["regex"], ['["^Chrome"]', '["bile$", "^x "]', '["[0-9]+"]', '["(?i)chrome"]', '["^$"]', '["^.{3}$"]', '["\\\\d{2}"]', '["a|b|12"]', '["^\\\\w+$"]', '["Chrome.Mobile"]', '["(?s)Chrome.Mobile"]'],
      OTHERS + ['"Chrome Mobile"', '"chrome"', '"x Chrome"', '"日本語"', '"😀 ok"', '"a1"', '"Straße"', '"Chrome\\nMobile"', '"٣٤"'])

for text in ["x" * 4_096, "x" * 4_097, "é" * 2_048, "é" * 2_049]:
    cross(["regex"], ['["x|é"]'], [f'"{text}"'])

cross(["exists"], ["[]", "[true]", "[false]"], OTHERS + ["0", "false"])
for attribute in OTHERS:
    case('{"attribute": "a", "operator": "exists"}', "{}" if attribute is MISSING else f'{{"a": {attribute}}}')
cross(["type"], ['["string"]', '["number"]', '["boolean"]', '["array"]', '["object"]', '["string", "number"]'], OTHERS + ["false", "0", '["a"]'])

LISTS = OTHERS + ['["a"]', '["b", "a"]', '["a", "a"]', '["A"]', "[1]", "[1.0, 2]", '["1"]', "[true]", '[null, "a"]', '[["a"]]', '[{"a": "a"}]', '["a", 1, true]', '["é"]', "[1e40]", '"a"', "1", "[null]"]
cross(["any_of", "all_of"], ['["a"]', '["a", "b"]', '["a", "a"]', "[1]", "[1, 2]", "[true]", '["a", 1, true]', '["é", "1"]'], LISTS)

ADDRESSES = ["192.0.2.1", "192.0.3.1", "10.1.2.3", "::ffff:192.0.2.1", "::ffff:c000:201", "::1", "2001:db8::1", "2001:DB8:0:0::FFFF", "2001:db9::", "0.0.0.0", "255.255.255.255", "::", "::ffff:0:0"]
NO_ADDRESSES = ["192.0.2", "192.0.2.256", "192.0.2.01", "192.0.2.1/32", " 192.0.2.1", "localhost", "1", ":::", "3221225985", "0xc0000201", "2001:db8::1::"]
cross(["in_cidr"], ['["192.0.2.0/24"]', '["192.0.2.77/24", "10.0.0.0/8"]', '["2001:db8::/32"]', '["192.0.2.1"]', '["::1", "0.0.0.0/0"]', '["::/0"]', '["::ffff:192.0.2.0/120"]', '["::ffff:192.0.2.1"]',
                     '["10.1.2.3/32", "10.0.0.0/8", "2001:db8::1/128"]', '["255.255.255.255/32"]'],
      [f'"{text}"' for text in ADDRESSES + NO_ADDRESSES] + OTHERS)

# Paths.
NESTED = '{"device": {"os": {"name": "iOS", "version": "17.2", "tags": ["beta"]}, "os.name": "dotted", "": 1}, "device.os.name": "flat", "user_id": "impostor", "ÜBER": {"größe": 3}, "a b": {"c-d": true}}'
for path, operator, values in [
    ("device.os.name", "equals", '["iOS"]'), ("device.os.name", "equals", '["flat"]'), ("device.os.name", "equals", '["dotted"]'), ("device.os", "type", '["object"]'),
    ("device.os.name.x", "exists", "[false]"), ("device.os.version", "greater", '["17.1.9"]'), ("device.os.tags", "any_of", '["beta"]'), ("device.os.tags.0", "exists", "[true]"),
    ("device.none.name", "exists", "[true]"), ("Device.os", "exists", "[true]"), ("ÜBER.größe", "equals", "[3]"), ("über.größe", "equals", "[3]"), ("a b.c-d", "equals", "[true]"),
    ("user_id", "equals", '["impostor"]'), ("user_id", "equals", '["user_1"]'), ("user_id", "starts_with", '["user_"]'), ("user_id", "exists", "[true]"), ("user_id", "exists", "[false]"),
    ("user_id", "type", '["string"]'), ("user_id", "in", '["a", "user_1"]'), ("user_id", "regex", '["_[0-9]$"]'), ("user_id.x", "exists", "[true]"), ("a.user_id", "exists", "[true]"),
    ("a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p", "exists", "[false]"),
]:
    for user_id in ["user_1", "", "日本"]:
        case(f'{{"attribute": "{path}", "operator": "{operator}", "values": {values}}}', NESTED, user_id)
case('{"attribute": "user_id.x", "operator": "equals", "values": [1]}', '{"user_id": {"x": 1}}')
case('{"attribute": "a.user_id", "operator": "equals", "values": [1]}', '{"a": {"user_id": 1}}')
case('{"attribute": "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p", "operator": "equals", "values": [1]}', '{"a":' * 1 + '{"b":{"c":{"d":{"e":{"f":{"g":{"h":{"i":{"j":{"k":{"l":{"m":{"n":{"o":{"p":1' + "}" * 16)

# Segments.
for keys, segments in itertools.product(['["s"]', '["s", "t.u-v_w"]', '["S"]'], [{}, {"s": True}, {"s": False}, {"t.u-v_w": True}, {"s": False, "t.u-v_w": False}]):
    case(f'{{"operator": "in_segment", "values": {keys}}}', segments=segments)
    case(f'{{"not": {{"operator": "in_segment", "values": {keys}}}}}', segments=segments)

# Combinations.
LEAVES = [
    '{"attribute": "country", "operator": "in", "values": ["NZ", "AU"]}', '{"attribute": "plan", "operator": "equals", "values": ["pro"]}', '{"attribute": "age", "operator": "greater_or_equal", "values": [18]}',
    '{"attribute": "device.os", "operator": "not_equals", "values": ["iOS"]}', '{"operator": "in_segment", "values": ["beta"]}', '{"attribute": "user_id", "operator": "ends_with", "values": ["1"]}',
    '{"attribute": "tags", "operator": "any_of", "values": ["x"]}', '{"attribute": "none", "operator": "exists"}', '{"all": []}', '{"any": []}',
]


def combination(depth):
    choice = random.randrange(4 if depth else 1)
    if choice == 0:
        return random.choice(LEAVES)
    if choice == 3:
        return f'{{"not": {combination(depth - 1)}}}'
    inner = ", ".join(combination(depth - 1) for _ in range(random.randrange(5)))
    return f'{{"{("all", "any")[choice - 1]}": [{inner}]}}'


for empty in ['{"all": []}', '{"any": []}', '{"not": {"all": []}}', '{"not": {"any": []}}', '{"all": [{"any": []}]}', '{"any": [{"all": []}]}', '{"all": [{"all": []}, {"all": []}]}', "{\"not\":" * 15 + '{"all": []}' + "}" * 15]:
    case(empty)
for _ in range(250):
    attributes = []
    for name, choices in [("country", ['"NZ"', '"DE"', "null", "1"]), ("plan", ['"pro"', '"free"']), ("age", ["17", "18", "18.5", '"18"']), ("device", ['{"os": "iOS"}', '{"os": "Android"}', "{}", '"iOS"']), ("tags", ['["x", "y"]', "[]"])]:
        if random.random() < 0.8:
            attributes.append(f'"{name}": {random.choice(choices)}')
    case(combination(random.randrange(1, 5)), "{" + ", ".join(attributes) + "}", random.choice(["user_1", "user_2"]), random.choice([{}, {"beta": True}, {"beta": False}]))

with open("rules.json", "w", encoding="utf-8") as file:
    file.write("[\n" + ",\n".join(cases) + "\n]\n")
print(len(cases), "cases,", sum(line.endswith("true}") for line in cases), "of which hold")
