"""Golden vectors for quantiles, capped metrics and the planning of experiments: see generate.py, whose requirements and rules
hold here.

    python generate_design.py
"""

import math
import random
from fractions import Fraction

from scipy import stats

from generate import agree, exact, mp, normal_critical, normal_two_sided, shown, student_critical, student_two_sided, write


def case(given, expected):
    plain = lambda value: value if value is None or isinstance(value, (str, int)) else shown(value)
    return {"given": given, "expected": {name: plain(value) for name, value in expected.items()}}


# Quantiles


def quantile_interval(values, q, alpha):
    """Ranks as in statistics.md, the estimate as percentile_cont."""
    ordered, n = sorted(map(exact, values)), len(values)
    share = exact(q)
    place = share * (n - 1)
    below = int(mp.floor(place))
    above = min(below + 1, n - 1)
    estimate = ordered[below] + (place - below) * (ordered[above] - ordered[below])
    agree(estimate, stats.mstats.mquantiles([float(v) for v in ordered], [q], alphap=1, betap=1)[0], 1e-9)
    if n < max(4 * share / (1 - share), 4 * (1 - share) / share):
        return {"estimate": estimate, "low": None, "high": None, "standard_error": None, "note": "too_few_units"}
    z = normal_critical(alpha)
    half = z * mp.sqrt(n * share * (1 - share))
    lower, upper = int(mp.floor(n * share - half)), int(mp.ceil(n * share + half)) + 1
    low, high = ordered[max(lower, 1) - 1], ordered[min(upper, n) - 1]
    error = (high - low) / (2 * z)
    note = "zero_variance" if error == 0 else "rank_at_edge" if lower < 1 or upper > n else None
    return {"estimate": estimate, "low": low, "high": high, "standard_error": error or None, "note": note}


def quantile_cases():
    rng = random.Random(301)
    rows = [([1.0, 2.0, 3.0], 0.5, 0.05), ([5.0] * 30, 0.5, 0.05), ([0.0] * 90 + [float(i) for i in range(10)], 0.9, 0.05)]
    rows += [([float(i) for i in range(8)], 0.5, 0.05), ([float(i) for i in range(40)], 0.9, 0.05)]
    for _ in range(20):
        n = int(10 ** rng.uniform(0.7, 2.5))
        values = sorted(round(rng.lognormvariate(0, 1), 3) for _ in range(n))
        rows.append((values, rng.choice([0.5, 0.25, 0.9, 0.99, rng.random()]), rng.choice([0.01, 0.05, 0.2])))
    given = [{"values": sorted(values), "q": q, "alpha": alpha} for values, q, alpha in rows]
    return [case(row, quantile_interval(**row)) for row in given]


# Capped metrics


def winsorised(values, low, high):
    values = [Fraction(value) for value in values]
    capped = [v if low is None else max(v, Fraction(low)) for v in values]
    capped = [v if high is None else min(v, Fraction(high)) for v in capped]
    n = len(values)

    def moments(rows):
        mean = sum(rows) / n
        return mean, (sum((row - mean) ** 2 for row in rows) / (n - 1) if n > 1 else Fraction(0))

    (mean, variance), (raw_mean, raw_variance) = moments(capped), moments(values)
    total = sum(values)
    return {
        "mean": exact(mean), "variance": exact(variance), "raw_mean": exact(raw_mean), "raw_variance": exact(raw_variance),
        "users": exact(Fraction(sum(a != b for a, b in zip(values, capped)), n)),
        "total": exact((total - sum(capped)) / total) if total else None,
    }  # fmt: skip


def winsorised_cases():
    rng = random.Random(302)
    rows = [([1.0, 2.0, 100.0], None, 10.0), ([0.0, 0.0], None, 10.0), ([-50.0, 1.0, 2.0, 70.0], -5.0, 5.0), ([3.0], None, 1.0)]
    for _ in range(18):
        values = [0.0 if rng.random() < 0.6 else round(rng.lognormvariate(3, 2), 2) for _ in range(rng.randint(5, 200))]
        rows.append((values, None, rng.choice([5.0, 50.0, 1e9])))
    # Far from 0, where sums of squares would have no digits left.
    rows.append(([1e9 + rng.random() for _ in range(100)], None, 1e9 + 0.75))
    return [case({"values": v, "low": low, "high": high}, winsorised(v, low, high)) for v, low, high in rows]


# Planning

FEW = 100


def upper(area):
    """z with P(Z > z) = area."""
    return normal_critical(2 * area) if area <= mp.mpf(1) / 2 else -normal_critical(2 * (1 - area))


def upper_t(area, df):
    return student_critical(2 * area, df) if area <= mp.mpf(1) / 2 else -student_critical(2 * (1 - area), df)


def design(rng=None):
    plain = {"alpha": 0.05, "power": 0.8, "ratio": 1.0, "treatments": 1, "rho": 0.0, "inflation": 1.0, "one_sided": False}
    if rng is None:
        return plain
    return {
        "alpha": rng.choice([0.01, 0.05, 0.1]), "power": rng.choice([0.8, 0.9, 0.3]), "ratio": rng.choice([1.0, 0.25, 4.0]),
        "treatments": rng.choice([1, 1, 2, 5]), "rho": rng.choice([0.0, 0.7, -0.3]), "inflation": rng.choice([1.0, 1.03, 2.4]),
        "one_sided": rng.random() < 0.3,
    }  # fmt: skip


def sizes(n_control, effect, d):
    n_control *= (1 - exact(d["rho"]) ** 2) * exact(d["inflation"])
    control, treatment = (max(2, int(mp.ceil(n))) for n in (n_control, n_control * exact(d["ratio"])))
    return {
        "n_control": control, "n_treatment": treatment, "n_total": control + d["treatments"] * treatment,
        "mde_abs": abs(effect), "alpha_used": exact(d["alpha"]) / d["treatments"],
    }  # fmt: skip


def tail_of(d):
    return exact(d["alpha"]) / d["treatments"] / (1 if d["one_sided"] else 2)


def size_difference(sd1, sd2, effect, design):
    beta = 1 - exact(design["power"])
    variance = (exact(sd1) ** 2 + exact(sd2) ** 2 / exact(design["ratio"])) / exact(effect) ** 2
    n = (upper(tail_of(design)) + upper(beta)) ** 2 * variance
    df = n * (1 + exact(design["ratio"])) - 2
    if df < FEW:
        df = max(df, 1)
        n = (upper_t(tail_of(design), df) + upper_t(beta, df)) ** 2 * variance
    return sizes(n, exact(effect), design)


def size_proportion(p1, mde_rel, design):
    p1, beta, ratio = exact(p1), 1 - exact(design["power"]), exact(design["ratio"])
    effect = p1 * exact(mde_rel)
    p2 = p1 + effect
    # Shares of the control and of one treatment, of all of both.
    w1, w2 = 1 / (1 + ratio), ratio / (1 + ratio)
    pooled = w1 * p1 + w2 * p2
    null = upper(tail_of(design)) * mp.sqrt(pooled * (1 - pooled) * (1 / w1 + 1 / w2))
    other = upper(beta) * mp.sqrt(p1 * (1 - p1) / w1 + p2 * (1 - p2) / w2)
    return sizes((null + other) ** 2 / effect**2 * w1, effect, design)


def sample_size_cases():
    rng = random.Random(303)
    # The gold values of statistics.md and of the seed: .10 to .11 and sd 10 with a difference of .5.
    rows = [("proportion", {"p1": 0.1, "mde_rel": 0.1, "design": design()}), ("difference", {"sd1": 10.0, "sd2": 10.0, "effect": 0.5, "design": design()})]
    for _ in range(20):
        rows.append(("proportion", {"p1": rng.uniform(0.001, 0.6), "mde_rel": rng.choice([0.01, 0.1, -0.2, 0.5]), "design": design(rng)}))
        sd = 10 ** rng.uniform(-3, 5)
        effect = sd * rng.choice([1e-4, 0.01, 0.2, -0.5, 1.5])
        rows.append(("difference", {"sd1": sd, "sd2": sd * rng.choice([1, 0.5, 2]), "effect": effect, "design": design(rng)}))
    functions = {"proportion": size_proportion, "difference": size_difference}
    return [case({"metric": metric, **row}, functions[metric](**row)) for metric, row in rows]


def spread(n1, sd1, n2, sd2):
    v1, v2 = exact(sd1) ** 2 / n1, exact(sd2) ** 2 / n2
    return mp.sqrt(v1 + v2), (v1 + v2) ** 2 / (v1**2 / (n1 - 1) + v2**2 / (n2 - 1))


def power(n1, sd1, n2, sd2, mde_abs, alpha, alternative):
    error, df = spread(n1, sd1, n2, sd2)
    few = df < FEW

    def above(t):
        both = student_two_sided(t, df) if few else normal_two_sided(t)
        return both / 2 if t > 0 else 1 - both / 2

    quantile = (lambda area: upper_t(area, df)) if few else upper
    shift = exact(mde_abs) / error
    if alternative == "two-sided":
        bound = quantile(exact(alpha) / 2)
        found = above(bound - shift) + above(bound + shift)
        if not few:
            agree(found, stats.norm.sf(float(bound - shift)) + stats.norm.sf(float(bound + shift)))
        elif df > 10:
            t = float(bound)
            # The non-central t distribution, which this is near to.
            assert abs(found - (stats.nct.sf(t, float(df), float(shift)) + stats.nct.cdf(-t, float(df), float(shift)))) < 0.02
    else:
        found = above(quantile(exact(alpha)) - (shift if alternative == "greater" else -shift))
    return {"power": min(found, mp.mpf(1)), "standard_error": error}


def power_cases():
    rng = random.Random(304)
    rows = []
    for i in range(30):
        n1, n2 = (int(10 ** rng.uniform(0.8 if i % 2 else 2, 1.6 if i % 2 else 9)) for _ in range(2))
        sd1, sd2 = (10 ** rng.uniform(-1, 1) for _ in range(2))
        effect = rng.choice([0, 0.3, 1, 2.8, 5, -2]) * math.sqrt(sd1**2 / n1 + sd2**2 / n2)
        rows.append((n1, sd1, n2, sd2, effect, rng.choice([0.01, 0.05]), rng.choice(["two-sided", "two-sided", "greater", "less"])))
    names = ("n1", "sd1", "n2", "sd2", "mde_abs", "alpha", "alternative")
    return [case(row, power(**row)) for row in (dict(zip(names, row)) for row in rows)]


def detectable(n1, sd1, n2, sd2, baseline, alpha, power):
    error, df = spread(n1, sd1, n2, sd2)
    tails = (exact(alpha) / 2, 1 - exact(power))
    effect = error * sum(upper_t(tail, df) if df < FEW else upper(tail) for tail in tails)
    return {"mde_abs": effect, "mde_rel": effect / abs(exact(baseline))}


def detectable_cases():
    rng = random.Random(305)
    rows = [(1000, 10.0, 1000, 10.0, 20.0, 0.05, 0.8), (6, 1.0, 5, 2.0, -3.0, 0.05, 0.8)]
    for _ in range(20):
        n1, n2 = (int(10 ** rng.uniform(0.8, 9)) for _ in range(2))
        rows.append((n1, 10 ** rng.uniform(-2, 4), n2, 10 ** rng.uniform(-2, 4), rng.uniform(1, 50), rng.choice([0.01, 0.05]), rng.choice([0.8, 0.9])))
    names = ("n1", "sd1", "n2", "sd2", "baseline", "alpha", "power")
    return [case(row, detectable(**row)) for row in (dict(zip(names, row)) for row in rows)]


def detectable_proportion(n1, n2, p1, alpha, power):
    p1 = exact(p1)
    a, b = upper(exact(alpha) / 2), upper(1 - exact(power))

    def lack(effect):
        p2 = p1 + effect
        pooled = (n1 * p1 + n2 * p2) / (n1 + n2)
        null = mp.sqrt(pooled * (1 - pooled) * (mp.mpf(1) / n1 + mp.mpf(1) / n2))
        return effect - a * null - b * mp.sqrt(p1 * (1 - p1) / n1 + p2 * (1 - p2) / n2)

    if lack(1 - p1) < 0:
        return {"mde_abs": None, "mde_rel": None, "note": "too_few_units"}
    effect = mp.findroot(lack, (mp.mpf(0), 1 - p1), solver="anderson", tol=mp.mpf("1e-60"), maxsteps=500)
    return {"mde_abs": effect, "mde_rel": effect / p1, "note": None}


def detectable_proportion_cases():
    rng = random.Random(306)
    rows = [(14751, 14751, 0.1, 0.05, 0.8), (3, 3, 0.5, 0.05, 0.9)]
    for _ in range(20):
        rows.append((int(10 ** rng.uniform(1.5, 9)), int(10 ** rng.uniform(1.5, 9)), rng.uniform(0.01, 0.6), 0.05, rng.choice([0.8, 0.9])))
    return [case(row, detectable_proportion(**row)) for row in (dict(zip(("n1", "n2", "p1", "alpha", "power"), row)) for row in rows)]


if __name__ == "__main__":
    write("quantile.json", quantile_cases())
    write("winsorised.json", winsorised_cases())
    write("sample_size.json", sample_size_cases())
    write("power.json", power_cases())
    write("detectable.json", detectable_cases())
    write("detectable_proportion.json", detectable_proportion_cases())
