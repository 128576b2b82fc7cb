"""Writes decisions.json: a workspace as calls of public SQL functions, and what each user must then be answered by decide.py.

Run from this folder: python3 generate_decisions.py
"""

import json
import random
import uuid
from decimal import Decimal

import decide
from decide import Experiment, Flag, Request, Workspace, share
from rule import parse

random.seed(20_000_104)
workspace = Workspace()
steps = []
PAST, LATER_PAST, FUTURE = "2001-01-01T00:00:00Z", "2002-06-01T12:00:00+13:00", "2999-01-01T00:00:00Z"
HALF = {"control": 50, "treatment": 50}


def text(value):
    """JSON with its numbers as they are."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{text(name)}: {text(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(text, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def exact(value):
    """As if it had been read from JSON."""
    return parse(text(value))


def call(function, answer=None, **arguments):
    """One call; lists and objects are passed as JSON, lists of ids as arrays."""
    passed = {}
    for argument, value in arguments.items():
        is_json = isinstance(value, (dict, list, Decimal)) and argument != "user_ids" or argument in ("default_value", "off_value")
        passed[argument] = text(value) if is_json else value
    steps.append([function, passed, answer])


# Everything below changes the database and the model alike.


def create(key, variants=None, **more):
    """A draft. Configurations are written as those of a long form of the variants."""
    variants = variants or HALF
    configs = more.pop("configs", {})
    layer, layer_percent = more.pop("layer", None), more.pop("layer_percent", None)
    written = variants
    if configs:
        written = [{"key": name, "weight": weight, **({"config": configs[name]} if name in configs else {})} for name, weight in variants.items()]
    place = {} if layer is None else {"layer": layer, "layer_percent": layer_percent}
    call("ab_create_experiment", experiment=key, variants=written, **more, **place)
    more = {name: exact(value) if name in ("targeting", "prerequisites", "schedule") else value for name, value in more.items()}
    workspace.experiments[key] = Experiment(key, variants, configs={name: exact(config) for name, config in configs.items()}, **more)
    if layer is not None:
        take(key, layer, layer_percent)


def start(key):
    call("ab_start", experiment=key)
    started = workspace.experiments[key]
    started.status = "running"
    started.lay_out()
    for holdout in workspace.experiments.values():
        if holdout.kind == "holdout" and holdout.runs() and holdout.unit == started.unit and holdout.layer in (None, started.layer):
            started.holdouts.append(holdout.key)


def run(key, variants=None, **more):
    create(key, variants, **more)
    start(key)


def pause(key):
    call("ab_pause", experiment=key)
    workspace.experiments[key].status = "paused"


def resume(key):
    call("ab_resume", experiment=key)
    workspace.experiments[key].status = "running"


def stop(key, ship=None):
    call("ab_stop", experiment=key, **({"ship": ship} if ship else {}))
    stopped = workspace.experiments[key]
    stopped.status, stopped.shipped = "stopped", ship
    stopped.layer, stopped.slices = None, []


def weights(key, **new):
    call("ab_set_weights", experiment=key, weights=new)
    changed = workspace.experiments[key]
    changed.weights = {name: new[name] for name in changed.variants}
    if changed.status != "draft":
        changed.lay_out()


def traffic(key, percent):
    call("ab_set_traffic", experiment=key, percent=percent)
    workspace.experiments[key].traffic = share(percent)


def targeting(key, rule):
    call("ab_set_targeting", experiment=key, rule=rule)
    workspace.experiments[key].targeting = rule and exact(rule)


def prerequisites(key, wanted):
    call("ab_set_prerequisites", experiment=key, prerequisites=wanted)
    workspace.experiments[key].prerequisites = exact(wanted)


def schedule(key, planned):
    call("ab_schedule", experiment=key, steps=planned)
    workspace.experiments[key].schedule = exact(planned)


def override(key, variant, user_id=None, segment=None):
    call("ab_override", experiment=key, variant=variant, **({"user_id": user_id} if user_id else {"segment": segment}))
    forced = workspace.experiments[key]
    if user_id:
        forced.users[user_id] = variant
    else:
        forced.segments[segment] = variant


def remove_override(key, user_id=None, segment=None):
    call("ab_remove_override", experiment=key, **({"user_id": user_id} if user_id else {"segment": segment}))
    forced = workspace.experiments[key]
    (forced.users if user_id else forced.segments).pop(user_id or segment, None)


def layer(key, **more):
    call("ab_create_layer", layer=key, **more)
    workspace.layers[key] = {"salt": more.get("salt", key)}


def take(key, layer, percent):
    """The lowest free buckets."""
    joining = workspace.experiments[key]
    joining.layer = layer
    free = [True] * decide.BUCKETS
    for other in workspace.experiments.values():
        for from_bucket, to_bucket in other.slices if other.layer == layer else []:
            free[from_bucket:to_bucket] = [False] * (to_bucket - from_bucket)
    missing = share(percent) - sum(end - first for first, end in joining.slices)
    assert sum(free) >= missing
    for number in [number for number in range(decide.BUCKETS) if free[number]][:missing]:
        if joining.slices and joining.slices[-1][1] == number:
            joining.slices[-1][1] = number + 1
        else:
            joining.slices.append([number, number + 1])


def join(key, layer, percent=None, from_bucket=None, to_bucket=None):
    if percent is None:
        call("ab_join_layer", experiment=key, layer=layer, from_bucket=from_bucket, to_bucket=to_bucket)
        workspace.experiments[key].layer = layer
        workspace.experiments[key].slices.append([from_bucket, to_bucket])
    else:
        call("ab_join_layer", experiment=key, layer=layer, percent=percent)
        take(key, layer, percent)


def holdout(key, percent, **more):
    call("ab_create_holdout", holdout=key, percent=percent, **more)
    limited_to = more.pop("layer", None)
    created = Experiment(key, {"holdout": percent, "programme": 100 - percent}, kind="holdout", **more)
    created.status, created.layer = "running", limited_to
    created.lay_out()
    workspace.experiments[key] = created


def segment(key, rule=None, members=None):
    call("ab_create_segment", segment=key, **({"rule": rule} if rule else {}))
    if rule:
        workspace.rules[key] = exact(rule)
    else:
        workspace.lists[key] = set(members)
        if members:
            call("ab_add_members", segment=key, user_ids=members)


def expose(user_id, key, context=None):
    answer = Request(workspace, user_id, context and text(context)).expose(key)
    call("ab_expose", answer, user_id=user_id, experiment=key, **({"context": context} if context else {}))


def flag(key, kind="boolean", **more):
    call("ab_create_flag", flag=key, kind=kind, **more)
    more = {name: exact(value) if name in ("default_value", "off_value", "rules", "prerequisites") else value for name, value in more.items()}
    workspace.flags[key] = Flag(key, kind, **more)


def set_flag(key, **more):
    call("ab_set_flag", flag=key, **more)
    changed = workspace.flags[key]
    if "rules" in more:
        changed.change(exact(more["rules"]))
    if "default_value" in more:
        changed.default = exact(more["default_value"])
    if "prerequisites" in more:
        changed.prerequisites = exact(more["prerequisites"])


def kill(key):
    call("ab_kill", flag=key)
    workspace.flags[key].killed = True


def revive(key):
    call("ab_revive", flag=key)
    workspace.flags[key].killed = False


def condition(attribute, operator, *values):
    return {"attribute": attribute, "operator": operator, "values": list(values)}


def within(*segments):
    return {"operator": "in_segment", "values": list(segments)}


# Users and contexts.

NUMBERED = [f"user_{number}" for number in range(60)]
users = [None, "", "x" * 513, "x" * 512, "é" * 256, "é" * 257, " ", "0", "user_123", "O'Brien", 'say "hi"', "back\\slash", "a:b", "tab\there"]
users += ["😀🚀", "日本語のユーザー", "ünïcödé", "A", "a", "null", "NULL", "true", "x" * 100, "ß" * 70]
users += NUMBERED + [str(number) for number in range(-3, 40)]
users += [str(uuid.UUID(int=random.getrandbits(128), version=4)) for _ in range(50)]
users += [f"user.{random.randrange(10**6)}@example.com" for _ in range(50)]
NZ, AU = {"country": "NZ"}, {"country": "AU"}
BOTS = [
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
    "curl/8.5.0",
]
BROWSERS = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
]
ACCOUNTS = ['"acme"', "12", "12.0", "1.2e1", '"12"', "-0.0", "0.50", "1e27", "1e28", "12345678901234567890123456789", '""', f'"{"x" * 512}"', f'"{"x" * 513}"', "true", "null", "[7]", "{}", '"日本"']
contexts = [None, "{}", text(NZ), text(AU), '{"country": "nz"}', '{"country": ["NZ"]}']
contexts += [text({"user_agent": agent, **NZ}) for agent in BOTS + BROWSERS] + ['{"user_agent": 7}', '{"user_agent": ""}']
contexts += [text({"ip": ip, **AU}) for ip in ["10.1.2.3", "::ffff:10.9.9.9", "192.0.2.1", "2001:db8::7", "2001:db9::7", "ten"]]
contexts += ['{"internal": true}', '{"internal": "true"}', '{"country": "NZ", "internal": false}']
contexts += [f'{{"account": {{"id": {account}}}, "country": "NZ"}}' for account in ACCOUNTS] + ['{"account": 7}', '{"account.id": 7}']
contexts += [text({"account": {"id": number, "plan": random.choice(["pro", "free"])}, "country": random.choice(["NZ", "AU", "DE"])}) for number in range(1, 13)]
contexts += ['{"device": {"os": {"name": "iOS", "version": "17.2"}}, "age": 17.999}', '{"device": {"os": {"name": "iOS", "version": "9.3"}}, "age": 18}', '{"age": "18", "device": "iOS"}']

requests = [(user_id, context) for user_id in [None, "", "x" * 513, "user_1", "user_2", "7"] for context in contexts]
requests += [(user_id, None) for user_id in users] + [(user_id, random.choice(contexts)) for user_id in users] + [(user_id, text(NZ)) for user_id in NUMBERED]
requests = list(dict.fromkeys(requests))

# Segments: lists, rules, and rules about those.
segment("staff", members=["user_1", "user_3", "user_5", "7", "日本語のユーザー", "O'Brien"])
segment("beta", members=["user_2", "user_3", "😀🚀", "a:b"])
segment("partners", members=["user_50", "user_51"])
segment("empty", members=[])
segment("nz", rule=condition("country", "equals", "NZ"))
segment("nz_staff", rule={"all": [within("nz"), within("staff", "beta")]})
segment("outsiders", rule={"not": {"any": [within("staff"), within("nz_staff"), within("empty")]}})
call("ab_create_segment", segment="odd", query="select format('user_%s', n) from generate_series(1, 59, 2) n")
workspace.lists["odd"] = set(NUMBERED[1::2])
call("ab_add_members", segment="staff", user_ids=["user_4", "user_6"])
call("ab_remove_members", segment="staff", user_ids=["user_5"])
workspace.lists["staff"] = workspace.lists["staff"] - {"user_5"} | {"user_4", "user_6"}

# The plain ones.
run("even")
run("thirds", {"a": 1, "b": 1, "c": 1})
run("uneven", {"small": 0.1, "large": 99.9})
run("order.as-written", {"zeta": 10, "alpha": 20, "mid": 70})
run("tenth", traffic=10)
run("nobody", traffic=0)
run("fraction", {"control": 3, "treatment": 1}, traffic=33.3333)
run("same_salt", salt="even")
create("draft")
run("paused")
pause("paused")
run("resumed")
pause("resumed")
weights("resumed", control=10, treatment=90)
resume("resumed")
run("stopped")
stop("stopped")
run("shipped")
stop("shipped", ship="treatment")
run("paused_and_shipped", traffic=0)
pause("paused_and_shipped")
stop("paused_and_shipped", ship="control")
run("to_come", starts_at=FUTURE)
run("gone_by", ends_at=PAST)
run("in_its_time", starts_at=PAST, ends_at=FUTURE)
call("ab_create_experiment", experiment="factors", factors={"colour": ["red", "blue"], "size": ["s", "m", "l"]})
workspace.experiments["factors"] = Experiment("factors", {f"{colour}.{size}": 1 for colour in ["red", "blue"] for size in ["s", "m", "l"]})
start("factors")

# Allocation that changes.
run("moved")
weights("moved", control=20, treatment=80)
weights("moved", control=60, treatment=40)
run("moved_three", {"a": 50, "b": 30, "c": 20})
weights("moved_three", a=30, b=30, c=40)
weights("moved_three", a=33, b=33, c=34)
run("moved_often", {"a": 1, "b": 1, "c": 1, "d": 1})
for new in [(5, 1, 1, 1), (1, 5, 1, 1), (1, 1, 5, 1), (0.001, 1, 1, 5), (1, 1, 1, 1), (7, 3, 2, 11)]:
    weights("moved_often", **dict(zip("abcd", new)))
create("moved_as_draft")
weights("moved_as_draft", control=90, treatment=10)
start("moved_as_draft")
run("raised", traffic=10)
traffic("raised", 60)
run("lowered", traffic=60)
traffic("lowered", 12.3456)
run("ramp_past", traffic=1, schedule=[{"at": PAST, "percent": 5}, {"at": LATER_PAST, "percent": 50.5}])
run("ramp_future", traffic=20, schedule=[{"at": FUTURE, "percent": 100}])
run("ramp_between", traffic=1, schedule=[{"at": "2001-01-01", "percent": 30}, {"at": FUTURE, "percent": 100}])
run("ramp_down", schedule=[{"at": PAST, "percent": 0}])
run("ramp_withdrawn", traffic=15, schedule=[{"at": PAST, "percent": 90}])
schedule("ramp_withdrawn", [])
run("ramp_later", traffic=15)
schedule("ramp_later", [{"at": PAST, "percent": 40}, {"at": FUTURE, "percent": 41}])
traffic("ramp_later", 80)

# Units.
run("by_account", unit="account.id")
run("by_account_tenth", unit="account.id", traffic=50, targeting=condition("country", "not_in", "AU"))
run("by_nothing", unit="no.such.attribute")

# Targeting.
run("targeted", targeting=condition("country", "in", "NZ", "AU"))
run("targeted_deep", targeting={"all": [condition("device.os.version", "greater_or_equal", "10"), {"not": condition("age", "greater_or_equal", 18)}]})
run("targeted_segment", targeting=within("nz_staff", "empty"))
run("targeted_outsiders", targeting=within("outsiders"))
run("targeted_query", targeting=within("odd"))
run("targeted_id", targeting={"any": [condition("user_id", "ends_with", "1"), condition("user_id", "regex", "^[0-9]+$")]})
run("targeted_nobody", targeting={"any": []})
run("retargeted", targeting=condition("country", "equals", "NZ"))
targeting("retargeted", condition("country", "equals", "AU"))
run("untargeted", targeting=condition("country", "equals", "NZ"))
targeting("untargeted", None)

# Overrides.
create("forced_draft")
run("forced_paused", {"a": 1, "b": 1, "c": 1})
pause("forced_paused")
run("forced", {"a": 1, "b": 1, "c": 1}, traffic=20)
run("forced_stopped")
stop("forced_stopped")
run("forced_shipped")
stop("forced_shipped", ship="control")
run("forced_to_come", starts_at=FUTURE)
run("forced_elsewhere", targeting=condition("country", "equals", "DE"), unit="account.id")
for key in ["forced_draft", "forced_stopped", "forced_shipped", "forced_to_come", "forced_elsewhere"]:
    override(key, "treatment", user_id="user_1")
    override(key, "control", segment="beta")
for key in ["forced", "forced_paused"]:
    override(key, "c", segment="nz_staff")
    override(key, "b", segment="staff")
    override(key, "a", segment="nz")
    override(key, "b", user_id="user_3")
    override(key, "a", user_id="user_7")
    override(key, "b", user_id="user_8")
    override(key, "b", segment="nz_staff")
    override(key, "c", user_id="user_8")
    remove_override(key, user_id="user_7")
    override(key, "c", segment="empty")
override("forced", "a", segment="odd")
remove_override("forced", segment="odd")

# Layers, by user and by account.
layer("pricing", salt="pricing_2026")
layer("accounts", unit="account.id")
run("price_a", layer="pricing", layer_percent=20)
create("price_b")
join("price_b", "pricing", 20)
start("price_b")
join("price_a", "pricing", 35.5)
create("price_c", traffic=50)
join("price_c", "pricing", from_bucket=900_000, to_bucket=950_000)
join("price_c", "pricing", from_bucket=990_000, to_bucket=1_000_000)
start("price_c")
run("price_d", layer="pricing", layer_percent=20)
stop("price_d")
run("price_e", layer="pricing", layer_percent=15, targeting=condition("country", "exists"))
run("price_f", layer="pricing", layer_percent=1)
stop("price_f", ship="treatment")
run("account_a", layer="accounts", layer_percent=40, unit="account.id")
run("account_b", layer="accounts", layer_percent=60, unit="account.id", sticky=True)

# Holdouts bind what starts while they are in force.
holdout("ended", 50, ends_at=PAST)
holdout("early", 50, starts_at=FUTURE)
run("before_the_year")
holdout("year", 10, salt="year_2026")
holdout("by_account_year", 30, unit="account.id")
holdout("pricing_quarter", 20, layer="pricing")
run("held_out")
run("held_out_targeted", targeting=condition("country", "equals", "NZ"), traffic=50)
run("held_out_account", unit="account.id")
run("held_out_price", layer="pricing", layer_percent=5)
run("held_out_sticky", sticky=True)
holdout("short", 40)
run("held_out_shortly")
stop("short")
run("after_the_short")

# Prerequisites.
run("needs_variant", prerequisites=[{"experiment": "moved", "variants": ["control"]}])
run("needs_one_of", prerequisites=[{"experiment": "thirds", "variants": ["a", "c"]}, {"experiment": "even", "assigned": True}])
run("needs_tenth", prerequisites=[{"experiment": "tenth", "assigned": True}])
run("excludes_tenth", prerequisites=[{"experiment": "tenth", "assigned": False}])
run("needs_shipped_users", prerequisites=[{"experiment": "shipped", "assigned": True}])
run("needs_no_shipped_users", prerequisites=[{"experiment": "shipped", "assigned": False}], traffic=70)
run("needs_shipped_variant", prerequisites=[{"experiment": "shipped", "variants": ["treatment"]}])
run("needs_draft", prerequisites=[{"experiment": "forced_draft", "assigned": True}])
run("needs_chain", prerequisites=[{"experiment": "needs_variant", "variants": ["treatment"]}, {"experiment": "excludes_tenth", "assigned": True}])
run("needs_account", prerequisites=[{"experiment": "by_account", "variants": ["control"]}])
run("needs_holdout", prerequisites=[{"experiment": "year", "variants": ["programme"]}])

# Flags.
flag("plain")
flag("plain_on", default_value=True, off_value=True)
flag("plain_text", "string", default_value="none")
flag("plain_number", "number", default_value=Decimal("1.50"))
flag("plain_json", "json", default_value={"a": [1, None, "é"]})
flag("empty_text", "string")
flag("empty_number", "number", off_value=-1)
flag("empty_json", "json")
flag("by_country", "string", default_value="elsewhere", rules=[{"when": condition("country", "equals", "NZ"), "value": "here"}, {"when": within("staff"), "value": "us"}])
flag("dated", "number", rules=[
    {"ends_at": PAST, "value": 1}, {"starts_at": FUTURE, "value": 2}, {"starts_at": PAST, "ends_at": FUTURE, "when": condition("country", "exists"), "value": 3},
    {"starts_at": LATER_PAST, "percent": 50, "value": 4}, {"ends_at": FUTURE, "when": within("odd"), "value": 5},
])
flag("share", rules=[{"percent": 25, "value": True}])
flag("share_none", rules=[{"percent": 0, "value": True}])
flag("share_all", rules=[{"percent": 100, "value": True}])
flag("share_fine", rules=[{"percent": 33.3333, "when": {"not": within("staff")}, "value": True}, {"percent": 60, "value": True}])
flag("share_by_account", unit="account.id", salt="share", rules=[{"percent": 50, "value": True}])
flag("planned", rules=[{"schedule": [{"at": PAST, "percent": 5}, {"at": LATER_PAST, "percent": 50}], "value": True}])
flag("planned_from", rules=[{"percent": 30, "schedule": [{"at": FUTURE, "percent": 100}], "value": True}])
flag("planned_later", rules=[{"schedule": [{"at": FUTURE, "percent": 100}], "value": True}])
flag("planned_all", rules=[{"percent": 1, "schedule": [{"at": PAST, "percent": 100}], "value": True}])
COLOURS = [{"value": "red", "weight": 1}, {"value": "green", "weight": 1}, {"value": "blue", "weight": 1}]
flag("colour", "string", default_value="grey", rules=[{"split": COLOURS}])
flag("colour_share", "string", default_value="grey", rules=[{"percent": 40, "split": COLOURS}, {"when": condition("country", "equals", "NZ"), "split": COLOURS[:1]}])
flag("colour_moved", "string", default_value="grey", rules=[{"split": COLOURS}])
for new in [[("red", 5), ("green", 3), ("blue", 2)], [("blue", 2.5), ("red", 0.5), ("green", 7)], [("black", 1), ("green", 2), ("red", 1)], [("green", 1), ("red", 1)]]:
    set_flag("colour_moved", rules=[{"split": [{"value": value, "weight": weight} for value, weight in new]}])
flag("colour_second", "string", rules=[{"when": within("staff"), "value": "gold"}, {"split": COLOURS}])
set_flag("colour_second", rules=[{"when": within("beta"), "value": "gold"}, {"split": [{"value": "green", "weight": 1}, {"value": "red", "weight": 8}]}], default_value="grey")
flag("colour_elsewhere", "string", rules=[{"split": COLOURS}])
set_flag("colour_elsewhere", rules=[{"when": within("beta"), "value": "gold"}, {"split": [{"value": "green", "weight": 1}, {"value": "red", "weight": 8}]}])
flag("colour_twice", "string", rules=[{"percent": 30, "split": COLOURS}, {"split": COLOURS[:2]}])
for red, green in [(5, 1), (1, 1), (3, 1)]:
    set_flag("colour_twice", rules=[{"percent": 30, "split": COLOURS}, {"split": [{"value": "red", "weight": red}, {"value": "green", "weight": green}]}])
set_flag("colour_twice", rules=[{"when": within("beta"), "split": COLOURS}, {"split": [{"value": "red", "weight": 1}, {"value": "green", "weight": 2}]}])
flag("split_account", "number", unit="account.id", rules=[{"split": [{"value": 1, "weight": 1}, {"value": Decimal("2.5"), "weight": 3}]}, {"percent": 100, "when": within("nz"), "value": 7}])
flag("split_json", "json", rules=[{"split": [{"value": {"a": 1}, "weight": 1}, {"value": None, "weight": 1}, {"value": [True, "x"], "weight": 2}]}])
flag("null", "json", default_value=1, rules=[{"when": within("nz"), "value": None}])
run("configured", {"a": 1, "b": 1, "c": 1}, configs={"a": {"size": 1}, "b": "large"}, traffic=60)
flag("from_experiment", "string", default_value="none", rules=[{"experiment": "moved"}])
flag("from_values", "number", default_value=-1, rules=[{"experiment": "thirds", "values": {"a": 10, "b": 20}}, {"experiment": "needs_tenth", "values": {"control": 30, "treatment": 40}}])
flag("from_config", "json", default_value="none", rules=[{"experiment": "configured"}])
flag("from_config_text", "string", default_value="none", rules=[{"experiment": "configured"}, {"percent": 50, "value": "half"}])
flag("from_shipped", rules=[{"experiment": "shipped", "values": {"treatment": True, "control": False}}])
flag("from_forced", "string", rules=[{"when": {"not": within("outsiders")}, "experiment": "forced"}, {"percent": 50, "experiment": "forced"}])
flag("killed", "string", default_value="on", off_value="off", rules=[{"value": "rule"}])
kill("killed")
flag("killed_default", "number", default_value=5)
kill("killed_default")
flag("revived", rules=[{"percent": 50, "value": True}])
kill("revived")
revive("revived")
flag("needs_flag", default_value=True, prerequisites=[{"flag": "share", "values": [True]}])
flag("needs_number", default_value=True, prerequisites=[{"flag": "split_account", "values": [1, Decimal("7.0")]}])
flag("needs_json", "string", default_value="yes", off_value="no", prerequisites=[{"flag": "split_json", "values": [None, {"a": Decimal("1.0")}]}])
flag("needs_killed", default_value=True, prerequisites=[{"flag": "killed", "values": ["off"]}])
flag("needs_experiment", default_value=True, prerequisites=[{"experiment": "tenth", "assigned": False}, {"experiment": "even", "variants": ["control"]}])
flag("needs_both", "string", default_value="both", off_value="off", rules=[{"percent": 50, "value": "half"}], prerequisites=[{"flag": "needs_flag", "values": [True]}, {"experiment": "needs_variant", "assigned": True}])
flag("gone")
call("ab_delete_flag", flag="gone")
del workspace.flags["gone"]
run("needs_flag", prerequisites=[{"flag": "share", "values": [True]}])
run("needs_text", prerequisites=[{"flag": "by_country", "values": ["here", "us"]}, {"flag": "killed", "values": ["off"]}])
run("needs_number", prerequisites=[{"flag": "split_account", "values": [Decimal("2.50")]}])
run("needs_later")
prerequisites("needs_later", [{"flag": "needs_both", "values": ["half", "both"]}])

# Stickiness: who was exposed keeps what they met, whatever changes afterwards.
EXPOSED = NUMBERED[:30] + ["O'Brien", "日本語のユーザー", "x" * 512, "", "x" * 513]
run("sticky", sticky=True)
run("sticky_often", {"a": 1, "b": 1, "c": 1}, sticky=True)
run("sticky_retargeted", sticky=True, targeting=condition("country", "equals", "NZ"))
run("sticky_lowered", sticky=True, traffic=60)
run("sticky_ramp", sticky=True, traffic=20, schedule=[{"at": PAST, "percent": 80}, {"at": FUTURE, "percent": 100}])
run("sticky_replanned", sticky=True, traffic=20, schedule=[{"at": PAST, "percent": 80}])
run("sticky_never_planned", sticky=True, traffic=20, schedule=[{"at": PAST, "percent": 80}])
run("sticky_account", sticky=True, unit="account.id")
run("sticky_needs", sticky=True, prerequisites=[{"flag": "share", "values": [True]}])
run("sticky_paused", sticky=True)
run("sticky_forced", sticky=True)
run("sticky_stopped", sticky=True)
run("sticky_shipped", sticky=True)
run("sticky_layer", sticky=True, layer="pricing", layer_percent=6)
run("bandit", {"a": 1, "b": 1, "c": 1}, kind="bandit")
run("not_sticky")
override("sticky_forced", "treatment", user_id="user_1")
override("sticky_forced", "control", user_id="user_2")
STICKY = ["sticky", "sticky_often", "sticky_lowered", "sticky_ramp", "sticky_replanned", "sticky_never_planned", "sticky_needs", "sticky_paused", "sticky_forced",
          "sticky_stopped", "sticky_shipped", "sticky_layer", "bandit", "not_sticky", "held_out_sticky"]
for user_id in EXPOSED:
    for key in STICKY:
        expose(user_id, key)
    expose(user_id, "sticky_retargeted", NZ)
for number in range(1, 9):
    expose("user_1", "sticky_account", {"account": {"id": number}})
    expose(f"user_{number}", "account_b", {"account": {"id": number}})
for key in ["sticky", "sticky_account", "sticky_needs", "sticky_paused", "sticky_forced", "sticky_stopped", "sticky_shipped", "sticky_layer", "not_sticky", "account_b"]:
    weights(key, control=15, treatment=85)
weights("sticky_often", a=1, b=8, c=1)
for user_id in NUMBERED[20:40]:
    expose(user_id, "sticky_often")
weights("sticky_often", a=8, b=1, c=1)
weights("bandit", a=10, b=10, c=80)
targeting("sticky_retargeted", condition("country", "equals", "AU"))
traffic("sticky_lowered", 5)
schedule("sticky_replanned", [{"at": PAST, "percent": 10}, {"at": LATER_PAST, "percent": 30}])
schedule("sticky_never_planned", [])
pause("sticky_paused")
stop("sticky_stopped")
stop("sticky_shipped", ship="treatment")
remove_override("sticky_forced", user_id="user_1")
remove_override("sticky_forced", user_id="user_2")
join("sticky_layer", "pricing", 10)
weights("year", holdout=60, programme=40)
run("held_out_more")

# What holds for everything comes last, so that it meets stored variants too.
for user_id in ["user_10", "user_11", "user_12", "O'Brien", "😀🚀"]:
    call("ab_opt_out", user_id=user_id)
    workspace.opted_out.add(user_id)
call("ab_opt_in", user_id="user_12")
workspace.opted_out.remove("user_12")
EXCLUDED = {"any": [condition("ip", "in_cidr", "10.0.0.0/8", "2001:db8::/32"), condition("internal", "equals", True), within("partners")]}
call("ab_exclude", bots=True, rule=EXCLUDED)
workspace.bots, workspace.excluded = set(BOTS), exact(EXCLUDED)


def answers(keys, ask):
    """For each key its different answers, and for each request the number of its own."""
    lines = []
    for key in keys:
        numbers, outcomes = {}, []
        for request in asked:
            outcomes.append(numbers.setdefault(text(ask(request, key)), len(numbers)))
        lines.append(f"[{text(key)}, [{', '.join(numbers)}], {json.dumps(outcomes, separators=(',', ':'))}]")
    return ",\n".join(lines)


asked = [Request(workspace, user_id, context) for user_id, context in requests]
with open("decisions.json", "w", encoding="utf-8") as file:
    file.write('{"steps": [\n' + ",\n".join(text(step) for step in steps))
    file.write('\n],\n"requests": [\n' + ",\n".join(f"[{text(user_id)}, {context or 'null'}]" for user_id, context in requests))
    file.write('\n],\n"experiments": [\n' + answers([*workspace.experiments, "nowhere", "not a key", ""], Request.experiment))
    file.write('\n],\n"flags": [\n' + answers([*workspace.flags, "nowhere", "gone"], Request.flag))
    file.write("\n]}\n")
print(len(steps), "steps,", len(requests), "requests,", len(workspace.experiments), "experiments,", len(workspace.flags), "flags")
