"""Golden vectors for always-valid tests and group sequential boundaries: see generate.py, whose requirements and rules hold
here.

    python generate_sequential.py
"""

import random

import numpy as np
from scipy import optimize, special, stats

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


# Group sequential boundaries


def spent(spending, phi, alpha, t):
    t = min(t, 1.0)
    if spending == "obf":
        return 2 * stats.norm.sf(stats.norm.isf(alpha / 2) / np.sqrt(t))
    return alpha * np.log1p((np.e - 1) * t) if spending == "pocock" else alpha * t**phi


def simpson(low, high, count):
    weights = np.full(count, 2.0)
    weights[1::2] = 4
    weights[[0, -1]] = 1
    return np.linspace(low, high, count), weights * (high - low) / (count - 1) / 3


def group_bounds(info, alpha, spending, phi, sides, past_bounds):
    """By Simpson's rule on 3001 equally spaced scores; a frozen bound spends what the paths say that cross it."""
    count, reach = 3001, 9
    bounds, increments, done = [], [], 0.0
    scores, mass, before = np.zeros(1), np.ones(1), 0.0
    for k, t in enumerate(info):
        step, root = np.sqrt(t - before), np.sqrt(t)
        tail = lambda c: float(mass @ special.ndtr((scores - c * root) / step))
        if k < len(past_bounds):
            c = past_bounds[k]
            increment = tail(c)
        else:
            increment = max(0.0, spent(spending, phi, alpha / sides, t) - done)
            c = optimize.brentq(lambda c: tail(c) - increment, -2, 12, xtol=1e-12)
        done += increment
        bounds.append(c)
        increments.append(increment)
        high = min(c, reach) * root
        grid, weights = simpson(-high if sides == 2 else -reach * root, high, count)
        density = np.zeros(count)
        for start in range(0, len(scores), 1000):
            part = slice(start, start + 1000)
            density += stats.norm._pdf((grid[:, None] - scores[None, part]) / step) @ mass[part] / step
        scores, mass, before = grid, weights * density, t
    if len(info) in (2, 3) and sides == 1:
        # All looks at once, by the multivariate normal distribution.
        covariance = [[min(s, t) / np.sqrt(s * t) for s in info] for t in info]
        inside = stats.multivariate_normal(cov=covariance).cdf(np.array(bounds), rng=np.random.default_rng(1))
        assert abs(1 - inside - done) < 2e-5, (1 - inside, done)
    return bounds, increments


def group_cases():
    rng = random.Random(1983)
    equal = lambda count: [(k + 1) / count for k in range(count)]
    rows = [
        {"info": equal(5), "alpha": 0.05, "spending": spending, "phi": 3.0, "sides": 2, "past_bounds": []}
        for spending in ("obf", "pocock", "power")
    ]
    rows += [
        {"info": [1.0], "alpha": 0.05, "spending": "obf", "phi": 1.0, "sides": 1, "past_bounds": []},
        {"info": [0.4, 0.7, 1.2], "alpha": 0.05, "spending": "obf", "phi": 1.0, "sides": 2, "past_bounds": []},
        {"info": [0.3, 0.65, 0.9], "alpha": 0.05, "spending": "power", "phi": 2.0, "sides": 2, "past_bounds": [3.0, 2.5]},
        {"info": [0.2, 0.21, 1.0], "alpha": 0.025, "spending": "pocock", "phi": 1.0, "sides": 1, "past_bounds": [2.6]},
    ]
    while len(rows) < 24:
        info, t = [], 0.0
        for _ in range(rng.randint(2, 5)):
            t += rng.uniform(0.08, 0.4)
            info.append(t)
        end = info[-1] * rng.choice([1, 1, 0.9, 1.1])
        info = [t / end for t in info]
        if sum(t >= 1 for t in info) > 1:
            continue
        rows.append({
            "info": info, "alpha": rng.choice([0.05, 0.01, 0.1, 0.3]),
            "spending": rng.choice(["obf", "pocock", "power"]), "phi": rng.choice([1.0, 2.0, 3.0, 0.5]),
            "sides": rng.choice([1, 2]), "past_bounds": [],
        })  # fmt: skip
    cases = []
    for row in rows:
        bounds, increments = group_bounds(**row)
        cases.append({"given": row, "expected": {"z_bound": bounds, "alpha_increment": [row["sides"] * a for a in increments]}})
    return cases


if __name__ == "__main__":
    write("sequential.json", sequential_cases())
    write("group_bounds.json", group_cases())
