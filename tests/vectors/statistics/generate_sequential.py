"""Golden vectors for always-valid tests: see generate.py, whose requirements and rules hold here.

    python generate_sequential.py
"""

import random

from generate import agree, exact, mp, shown, write


def case(given, expected):
    return {"given": given, "expected": {name: shown(value) for name, value in expected.items()}}


# Always-valid tests


def tuning(alpha):
    """The r with the least two-sided multiplier, as the root of the derivative of its square."""
    target = -2 * mp.log(alpha)
    start = target + mp.log1p(target) + mp.sqrt(2 * target)
    return mp.findroot(lambda r: r - mp.log1p(r) - target, start) if target > 1 else mp.findroot(
        lambda r: r - mp.log1p(r) - target, (mp.sqrt(2 * target), 3 * mp.sqrt(2 * target)), solver="anderson"
    )


def sequential(diff, se, n, alpha, tuning_n, alternative):
    d, error, level = exact(diff), exact(se), exact(alpha)
    z = d / error
    two_sided = alternative == "two-sided"
    r = tuning(level if two_sided else 2 * level) * n / exact(tuning_n)
    share = r / (1 + r)
    if two_sided:
        # The mixture of likelihood ratios itself: effects with variance r in units of the estimate's.
        e = mp.exp(z * z / 2 * share) / mp.sqrt(1 + r)
        multiplier = mp.sqrt((mp.log(1 + r) - 2 * mp.log(level)) / share)
        agree(mp.exp(multiplier**2 / 2 * share) / mp.sqrt(1 + r) * level, 1)
    else:
        supported = z > 0 if alternative == "greater" else z < 0
        e = 2 * mp.expm1(z * z / 2 * share) / mp.sqrt(1 + r) if supported else mp.mpf(0)
        multiplier = mp.sqrt(2 * mp.log(1 + mp.sqrt(1 + r) / (2 * level)) / share)
    low, high = d - multiplier * error, d + multiplier * error
    return {
        "low": -mp.inf if alternative == "less" else low,
        "high": mp.inf if alternative == "greater" else high,
        "multiplier": multiplier,
        "log_e": mp.log(e) if e else -mp.inf,
        "p_value": min(mp.mpf(1), 1 / e) if e else 1,
        "note": "burn_in" if n < 200 else None,
    }


def sequential_cases():
    rng = random.Random(215)
    rows = [
        {"diff": 0.03, "se": 0.0142513157287, "n": 2000, "alpha": 0.05, "tuning_n": 5000.0, "alternative": "two-sided"},
        {"diff": 0.0, "se": 1.0, "n": 1000, "alpha": 0.05, "tuning_n": 1000.0, "alternative": "two-sided"},
        {"diff": 0.3, "se": 1.0, "n": 1000, "alpha": 1 - 1e-9, "tuning_n": 1000.0, "alternative": "two-sided"},
        {"diff": 0.3, "se": 1.0, "n": 1000, "alpha": 0.9974, "tuning_n": 1000.0, "alternative": "two-sided"},
        {"diff": 0.3, "se": 1.0, "n": 1000, "alpha": 0.5 - 1e-9, "tuning_n": 1000.0, "alternative": "greater"},
        {"diff": 37.0, "se": 1.0, "n": 10**9, "alpha": 0.05, "tuning_n": 1e9, "alternative": "greater"},
        {"diff": -37.5, "se": 1.0, "n": 10**9, "alpha": 0.05, "tuning_n": 1e6, "alternative": "two-sided"},
        {"diff": 5.0, "se": 1.0, "n": 10**6, "alpha": 1e-100, "tuning_n": 1e6, "alternative": "two-sided"},
    ]
    for _ in range(60):
        se = 10 ** rng.uniform(-8, 5)
        n = int(10 ** rng.uniform(0.4, 9))
        rows.append({
            "diff": se * rng.uniform(-9, 9), "se": se, "n": n,
            "alpha": rng.choice([0.05, 0.01, 1e-6, rng.uniform(0.001, 0.49)]),
            "tuning_n": n * 10 ** rng.uniform(-3, 3),
            "alternative": rng.choice(["two-sided", "greater", "less"]),
        })  # fmt: skip
    return [case(row, sequential(**row)) for row in rows]


if __name__ == "__main__":
    write("sequential.json", sequential_cases())
