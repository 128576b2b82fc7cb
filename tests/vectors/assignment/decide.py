"""Who is given what: an implementation of its own of the published decision order (`pip install xxhash`).

The slow and obvious way throughout: every bucket has an entry in a table, every stored variant is looked up.
"""

import functools
from decimal import Decimal
from fractions import Fraction

import xxhash

from rule import comparable, holds, parse, time

BUCKETS = 1_000_000
NOW = time("2026-01-01")


def bucket(salt, stage, unit):
    return xxhash.xxh64(f"{salt}:{stage}:{unit}".encode(), seed=0).intdigest() % BUCKETS


def share(percent):
    """Parts per million of a percentage; no percentage here is finer."""
    exact = Fraction(str(percent)) * 10_000
    assert exact.denominator == 1
    return int(exact)


def parts(weights):
    """Largest remainder, ties to the earlier."""
    total = sum(Fraction(str(weight)) for weight in weights)
    exact = [Fraction(str(weight)) * BUCKETS / total for weight in weights]
    whole = [int(part) for part in exact]
    order = sorted(range(len(weights)), key=lambda i: (-(exact[i] - whole[i]), i))
    for i in order[: BUCKETS - sum(whole)]:
        whole[i] += 1
    return whole


@functools.cache
def owners(history):
    """The owner of every bucket after a history of the weights of each variant, by its name."""
    table = owners(history[:-1]) if history[:-1] else [None] * BUCKETS
    names = [name for name, _ in history[-1]]
    wanted = dict(zip(names, parts([weight for _, weight in history[-1]])))
    kept = dict.fromkeys(names, 0)
    result = []
    for owner in table:
        if owner in kept and kept[owner] < wanted[owner]:
            kept[owner] += 1
            result.append(owner)
        else:
            result.append(None)
    missing = [name for name in names for _ in range(wanted[name] - kept[name])]
    missing.reverse()
    return [missing.pop() if owner is None else owner for owner in result]


def usable(text):
    return 1 <= len(text.encode()) <= 512


def scheduled(base, steps):
    """The share now, where each step holds from its time on."""
    for step in steps:
        if time(step["at"]) <= NOW:
            base = share(step["percent"])
    return base


class Experiment:
    def __init__(self, key, variants, salt=None, kind="experiment", **more):
        self.key, self.salt, self.kind = key, salt or key, kind
        self.variants = list(variants)
        self.weights = dict(variants)
        self.status = "draft"
        self.history = ()
        self.traffic = share(more.get("traffic", 100))
        self.schedule = more.get("schedule", [])
        self.unit = more.get("unit")
        self.targeting = more.get("targeting")
        self.prerequisites = more.get("prerequisites", [])
        self.sticky = more.get("sticky", False) or kind == "bandit"
        self.starts_at, self.ends_at = more.get("starts_at"), more.get("ends_at")
        self.configs = more.get("configs", {})
        self.users, self.segments = {}, {}
        self.layer, self.slices = None, []
        self.holdouts = []
        self.stored = {}
        self.shipped = None

    def lay_out(self):
        self.history += (tuple(self.weights.items()),)

    def runs(self):
        return (
            self.status == "running"
            and (self.starts_at is None or time(self.starts_at) <= NOW)
            and (self.ends_at is None or NOW < time(self.ends_at))
        )

    def owner(self, unit):
        stage = "holdout" if self.kind == "holdout" else "variant"
        return owners(self.history)[bucket(self.salt, stage, unit)]

    def has_changed_hands(self, unit):
        number = bucket(self.salt, "variant", unit)
        return len({owners(self.history[: length + 1])[number] for length in range(len(self.history))}) > 1


class Flag:
    def __init__(self, key, kind="boolean", default_value=None, rules=(), off_value=None, prerequisites=(), unit=None, salt=None):
        empty = {"boolean": False, "string": "", "number": Decimal(0), "json": None}[kind]
        self.key, self.kind, self.unit, self.salt = key, kind, unit, salt or key
        self.default = empty if default_value is None else default_value
        self.off = off_value if off_value is not None else (False if kind == "boolean" else self.default)
        self.prerequisites = list(prerequisites)
        self.killed = False
        self.rules, self.histories = [], []
        self.change(rules)

    def change(self, rules):
        """A split goes on from that of the same audience, best in its place, else from the one in its place."""
        histories = []
        for index, rule in enumerate(rules):
            history = ()
            if "split" in rule:
                before = [other for other in range(len(self.rules)) if "split" in self.rules[other]]
                before.sort(key=lambda other: (self.rules[other].get("when") != rule.get("when"), other != index))
                if before and (before[0] == index or self.rules[before[0]].get("when") == rule.get("when")):
                    history = self.histories[before[0]]
                history += (tuple((name(part["value"]), part["weight"]) for part in rule["split"]),)
            histories.append(history)
        self.rules, self.histories = list(rules), histories

    def fits(self, value):
        return self.kind == "json" or type(value) is {"boolean": bool, "string": str, "number": Decimal}[self.kind]


def name(value):
    """What tells values apart."""
    return repr(value)


class Workspace:
    def __init__(self):
        self.experiments, self.flags, self.layers = {}, {}, {}
        self.rules, self.lists = {}, {}
        self.opted_out = set()
        self.bots, self.excluded = set(), None


class Request:
    """One user with one context, asking one workspace."""

    def __init__(self, workspace, user_id, context):
        self.workspace = workspace
        self.user_id = user_id or ""
        self.context = parse(context or "{}")

    # What rules ask about segments.
    def get(self, segment, default=False):
        workspace = self.workspace
        if segment in workspace.rules:
            return self.meets(workspace.rules[segment])
        if segment == "opted-out":
            return self.user_id in workspace.opted_out
        return self.user_id in workspace.lists.get(segment, set())

    def meets(self, rule):
        return holds(rule, self.user_id, self.context, self)

    def unit(self, path):
        if path is None:
            return self.user_id if usable(self.user_id) else None
        value = self.context
        for level in path.split("."):
            value = value.get(level) if isinstance(value, dict) else None
        if isinstance(value, Decimal):
            if not comparable(value):
                return None
            value = format(value.normalize(), "f") if value else "0"
        return value if isinstance(value, str) and usable(value) else None

    def is_excluded(self):
        workspace = self.workspace
        agent = self.context.get("user_agent")
        if isinstance(agent, str) and agent in workspace.bots:
            return True
        return workspace.excluded is not None and self.meets(workspace.excluded)

    def requires(self, wanted):
        if "flag" in wanted:
            flag = self.workspace.flags.get(wanted["flag"])
            if flag is None:
                return False
            given, _ = self.flag(flag.key)
            return any(type(value) is type(given) and value == given for value in wanted["values"])
        variant, reason = self.experiment(wanted["experiment"])
        if "variants" in wanted:
            return variant in wanted["variants"]
        return (variant is not None and reason != "shipped") == wanted["assigned"]

    def experiment(self, key):
        """The variant and the reason."""
        asked = self.workspace.experiments.get(key)
        if asked is None:
            return None, "not_found"
        if asked.status == "stopped" and asked.shipped:
            return asked.shipped, "shipped"
        if self.user_id in self.workspace.opted_out:
            return None, "opted_out"
        if self.user_id in asked.users:
            return asked.users[self.user_id], "override"
        for segment, variant in asked.segments.items():
            if self.get(segment):
                return variant, "override"
        if not asked.runs():
            return None, "not_running"
        unit = self.unit(asked.unit)
        if unit is None:
            return None, "no_unit"
        if self.is_excluded():
            return None, "excluded"
        if not all([self.requires(wanted) for wanted in asked.prerequisites]):
            return None, "prerequisite"
        variant, reason = self.allocate(asked, unit)
        if asked.sticky and unit in asked.stored and (reason != "split" or asked.has_changed_hands(unit)):
            return asked.stored[unit], "sticky"
        assert reason != "split" or asked.stored.get(unit, variant) == variant
        return variant, reason

    def allocate(self, asked, unit):
        if asked.targeting is not None and not self.meets(asked.targeting):
            return None, "not_targeted"
        for key in asked.holdouts:
            holdout = self.workspace.experiments[key]
            if holdout.runs() and holdout.owner(unit) == "holdout":
                return None, "holdout"
        # A holdout is only limited to its layer.
        if asked.layer is not None and asked.kind != "holdout":
            number = bucket(self.workspace.layers[asked.layer]["salt"], "layer", unit)
            if not any(start <= number < end for start, end in asked.slices):
                return None, "layer"
        if bucket(asked.salt, "traffic", unit) >= scheduled(asked.traffic, asked.schedule):
            return None, "traffic"
        return asked.owner(unit), "split"

    def expose(self, key):
        """The answer; a sticky experiment keeps it."""
        variant, reason = self.experiment(key)
        asked = self.workspace.experiments[key]
        if asked.sticky and reason in ("split", "sticky"):
            asked.stored.setdefault(self.unit(asked.unit), variant)
        return variant

    def flag(self, key):
        """The value and the reason."""
        asked = self.workspace.flags.get(key)
        if asked is None:
            return None, "not_found"
        if asked.killed:
            return asked.off, "killed"
        if not all([self.requires(wanted) for wanted in asked.prerequisites]):
            return asked.off, "prerequisite"
        for rule, history in zip(asked.rules, asked.histories):
            served = self.serve(asked, rule, history)
            if served is not None:
                return served
        return asked.default, "default"

    def serve(self, asked, rule, history):
        if "starts_at" in rule and NOW < time(rule["starts_at"]) or "ends_at" in rule and NOW >= time(rule["ends_at"]):
            return None
        if "when" in rule and not self.meets(rule["when"]):
            return None
        base = share(rule["percent"]) if "percent" in rule else 0 if "schedule" in rule else BUCKETS
        limit = scheduled(base, rule.get("schedule", []))
        unit = self.unit(asked.unit)
        if limit < BUCKETS and (unit is None or bucket(asked.salt, "rollout", unit) >= limit):
            return None
        if "value" in rule:
            return rule["value"], "rollout" if limit < BUCKETS else "rule"
        if "split" in rule:
            if unit is None:
                return None
            owner = owners(history)[bucket(asked.salt, "variant", unit)]
            return next(part["value"] for part in rule["split"] if name(part["value"]) == owner), "split"
        variant, _ = self.experiment(rule["experiment"])
        if variant is None:
            return None
        if "values" in rule:
            if variant not in rule["values"]:
                return None
            value = rule["values"][variant]
        else:
            value = self.workspace.experiments[rule["experiment"]].configs.get(variant, variant)
        return (value, "experiment") if asked.fits(value) else None
