"""Writes bucket.json: 10,000 cases of the bucket hash, computed by Python's xxhash (`pip install xxhash`).

Run from this folder: python3 generate_buckets.py
"""

import json
import random
import uuid

import xxhash

random.seed(20_000_101)
ALPHABETS = [
    "abcdefghijklmnopqrstuvwxyz0123456789",
    "äöüßéèñçåøłżğıőűčšž",
    "日本語한국어中文字漢字かなカナ",
    "😀🚀🎉👩‍🔬🇳🇿",
    " \t\n\"'\\:;,/%&",
]
SALTS = ["a", "checkout_test:variant", "checkout_test:traffic", "v1.2-beta:variant", "k" * 128 + ":variant"]


def text(length: int) -> str:
    alphabet = random.choice(ALPHABETS)
    return "".join(random.choice(alphabet) for _ in range(length))


def case(salt: str, user_id: str) -> list:
    digest = xxhash.xxh64((salt + ":" + user_id).encode(), seed=0).intdigest()
    return [salt, user_id, digest % 1_000_000]


cases = [case(salt, "") for salt in SALTS]
cases += [case("checkout_test:variant", "user_123")]
# Every length around the block sizes of the hash, then ids of a kilobyte.
cases += [case("checkout_test:variant", "x" * length) for length in range(1, 260)]
cases += [case(random.choice(SALTS), text(1024)) for _ in range(40)]
while len(cases) < 10_000:
    kind = len(cases) % 4
    user_id = [
        str(random.randrange(10**9)),
        str(uuid.UUID(int=random.getrandbits(128), version=4)),
        f"user.{random.randrange(10**6)}@example.com",
        text(random.randrange(1, 60)),
    ][kind]
    cases.append(case(random.choice(SALTS[:4]), user_id))

with open("bucket.json", "w", encoding="utf-8") as file:
    file.write("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in cases) + "\n]\n")
