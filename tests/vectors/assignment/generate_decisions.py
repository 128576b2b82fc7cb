"""Writes decisions.json: experiments as they are created in SQL, and the answer each user must get.

An implementation of its own of the published algorithm (`pip install xxhash`). Run from this folder:
python3 generate_decisions.py
"""

import json
import random
import uuid
from fractions import Fraction

import xxhash

random.seed(20_000_102)
BUCKETS = 1_000_000


def bucket(salt, user_id):
    return xxhash.xxh64(f"{salt}:{user_id}".encode(), seed=0).intdigest() % BUCKETS


def parts(weights):
    """Largest remainder, ties to the earlier."""
    total = sum(Fraction(str(weight)) for weight in weights)
    exact = [Fraction(str(weight)) * BUCKETS / total for weight in weights]
    whole = [int(share) for share in exact]
    order = sorted(range(len(weights)), key=lambda i: (-(exact[i] - whole[i]), i))
    for i in order[: BUCKETS - sum(whole)]:
        whole[i] += 1
    return whole


def owners(history):
    """The owner of every bucket after a history of weights: the slow and obvious way, bucket by bucket."""
    table = [None] * BUCKETS
    for weights in history:
        wanted = parts(weights)
        kept = [0] * len(weights)
        for index, owner in enumerate(table):
            if owner is None:
                continue
            if kept[owner] < wanted[owner]:
                kept[owner] += 1
            else:
                table[index] = None
        missing = [wanted[i] - kept[i] for i in range(len(weights))]
        variant = 0
        for index, owner in enumerate(table):
            if owner is None:
                while missing[variant] == 0:
                    variant += 1
                table[index] = variant
                missing[variant] -= 1
    return table


# key, variants as written, later weights, traffic in percent, salt, status, starts_at, ends_at
EXPERIMENTS = [
    ("even", {"control": 50, "treatment": 50}, [], 100, None, "running", None, None),
    ("thirds", {"a": 1, "b": 1, "c": 1}, [], 100, None, "running", None, None),
    ("uneven", {"small": 0.1, "large": 99.9}, [], 100, None, "running", None, None),
    ("order.as-written", {"zeta": 10, "alpha": 20, "mid": 70}, [], 100, None, "running", None, None),
    ("tenth", {"control": 50, "treatment": 50}, [], 10, None, "running", None, None),
    ("nobody", {"control": 50, "treatment": 50}, [], 0, None, "running", None, None),
    ("fraction", {"control": 3, "treatment": 1}, [], 33.3333, None, "running", None, None),
    ("same_salt", {"control": 50, "treatment": 50}, [], 100, "even", "running", None, None),
    ("moved", {"control": 50, "treatment": 50}, [[20, 80], [60, 40]], 100, None, "running", None, None),
    ("moved_three", {"a": 50, "b": 30, "c": 20}, [[30, 30, 40], [33, 33, 34]], 100, None, "running", None, None),
    ("draft", {"control": 50, "treatment": 50}, [], 100, None, "draft", None, None),
    ("paused", {"control": 50, "treatment": 50}, [], 100, None, "paused", None, None),
    ("stopped", {"control": 50, "treatment": 50}, [], 100, None, "stopped", None, None),
    ("to_come", {"control": 50, "treatment": 50}, [], 100, None, "running", "2999-01-01T00:00:00Z", None),
    ("gone_by", {"control": 50, "treatment": 50}, [], 100, None, "running", None, "2001-01-01T00:00:00Z"),
]

users = ["", "x" * 513, "x" * 512, "é" * 256, "é" * 257, " ", "0", "user_123", "O'Brien", 'say "hi"', "back\\slash", "a:b", "tab\there"]
users += ["😀🚀", "日本語のユーザー", "ünïcödé", "A", "a", "null", "NULL", "true"]
users += [str(number) for number in range(-3, 60)]
users += [str(uuid.UUID(int=random.getrandbits(128), version=4)) for _ in range(60)]
users += [f"user.{random.randrange(10**6)}@example.com" for _ in range(60)]

experiments = []
for key, variants, later, traffic, salt, status, starts_at, ends_at in EXPERIMENTS:
    table = owners([list(variants.values())] + later)
    names = list(variants)
    root = salt or key
    answers = []
    for user_id in users:
        if status != "running" or starts_at or ends_at:
            answers.append([None, "not_running"])
        elif not 1 <= len(user_id.encode()) <= 512:
            answers.append([None, "no_unit"])
        elif traffic < 100 and bucket(f"{root}:traffic", user_id) >= round(Fraction(str(traffic)) * 10_000):
            answers.append([None, "traffic"])
        else:
            answers.append([names[table[bucket(f"{root}:variant", user_id)]], "split"])
    experiments.append(
        {
            "experiment": key,
            "variants": json.dumps(variants),
            "later_weights": later,
            "traffic": traffic,
            "salt": salt,
            "status": status,
            "starts_at": starts_at,
            "ends_at": ends_at,
            "answers": answers,
        }
    )

with open("decisions.json", "w", encoding="utf-8") as file:
    file.write('{"users": ' + json.dumps(users, ensure_ascii=False) + ',\n "experiments": [\n')
    file.write(",\n".join(json.dumps(experiment, ensure_ascii=False) for experiment in experiments))
    file.write("\n]}\n")
