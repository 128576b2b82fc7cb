"""Golden vectors for guardrails, interactions, heterogeneity, factorial experiments, novelty and projection: see generate.py,
whose requirements and rules hold here.

    python generate_effects.py
"""

import math
import random

from scipy import stats

from generate import agree, exact, mp, p_value, shown, student_critical, student_two_sided, write
from generate_means import pairs_of_arms


def case(given, expected):
    plain = lambda value: value if value is None or isinstance(value, str) else shown(value)
    return {"given": given, "expected": {name: plain(value) for name, value in expected.items()}}


def contrast(effect, terms, alpha, alternative="two-sided"):
    """The t-test of an effect from the variances and degrees of freedom of its terms."""
    variance = mp.fsum(v for v, _ in terms)
    error = mp.sqrt(variance)
    df = variance**2 / mp.fsum(v**2 / d for v, d in terms)
    bound = student_critical(alpha if alternative == "two-sided" else 2 * exact(alpha), df) * error
    t = effect / error
    p = p_value(t, alternative, lambda t: student_two_sided(t, df))
    if p > 1e-12 and alternative == "two-sided":
        agree(p, 2 * stats.t.sf(abs(float(t)), float(df)), 1e-7)
    return {
        "estimate": effect, "standard_error": error, "statistic": t, "degrees_of_freedom": df, "p_value": p,
        "low": effect - bound, "high": effect + bound,
    }  # fmt: skip


def cell(rng, n, mean):
    return [n, mean, (mean * rng.uniform(0.2, 2)) ** 2]


def cells_of(rng, count, effects=3):
    """Cells whose means differ by some standard errors."""
    scale = 10 ** rng.uniform(-3, 5)
    cells = []
    for _ in range(count):
        n = int(10 ** rng.uniform(0.6, 7))
        _, mean, variance = cell(rng, n, scale * rng.uniform(0.9, 1.1))
        cells.append([n, scale + rng.uniform(-effects, effects) * min(math.sqrt(variance / n), scale / 4), variance])
    return cells


def variance_of(arm):
    return exact(arm[2]) / arm[0]


# Guardrails


def noninferiority(control, treatment, margin, relative, alpha, higher_is_better):
    (n1, m1, _), (n2, m2, _) = ([exact(f) for f in arm] for arm in (control, treatment))
    v1, v2, share = variance_of(control), variance_of(treatment), exact(margin)
    if relative:
        effect = m2 - (1 - share) * m1 if higher_is_better else (1 + share) * m1 - m2
        factor = 1 - share if higher_is_better else 1 + share
    else:
        effect, factor = (m2 - m1 if higher_is_better else m1 - m2) + share, mp.mpf(1)
    terms = [(factor**2 * v1, n1 - 1), (v2, n2 - 1)]
    test, both = contrast(effect, terms, alpha, "greater"), contrast(effect, terms, alpha)
    harm = contrast(m2 - m1 if higher_is_better else m1 - m2, [(v1, n1 - 1), (v2, n2 - 1)], alpha)
    state = "pass" if test["p_value"] < alpha else "breach" if both["high"] < 0 else "fail" if harm["high"] < 0 else "inconclusive"
    return {
        "contrast": effect, "standard_error": test["standard_error"], "statistic": test["statistic"],
        "p_value": test["p_value"], "bound": test["low"], "state": state,
    }  # fmt: skip


def noninferiority_cases():
    rng = random.Random(401)
    rows = [([1000, 10.0, 25.0], [1000, mean, 25.0], 0.05, True, 0.05, up) for mean in (10.0, 9.9, 9.3, 8.8, 10.6, 11.3) for up in (True, False)]
    for control, treatment in pairs_of_arms(rng, 14):
        relative = control[1] > 0
        margin = rng.uniform(0.005, 0.3) * (1 if relative else abs(control[1]))
        rows.append((control[:3], treatment[:3], margin, relative, rng.choice([0.025, 0.05]), rng.random() < 0.5))
    rows.append(([500, -3.0, 4.0], [600, -3.1, 4.0], 0.5, False, 0.05, True))
    names = ("control", "treatment", "margin", "relative", "alpha", "higher_is_better")
    return [case(row, noninferiority(**row)) for row in (dict(zip(names, row)) for row in rows)]


# Interactions


def interaction(cells, scale, alpha):
    m00, m01, m10, m11 = (exact(arm[1]) for arm in cells)
    if scale == "log":
        effect = mp.log(m11) - mp.log(m10) - mp.log(m01) + mp.log(m00)
        terms = [(variance_of(arm) / exact(arm[1]) ** 2, arm[0] - 1) for arm in cells]
    else:
        effect = (m11 - m10) - (m01 - m00)
        terms = [(variance_of(arm), arm[0] - 1) for arm in cells]
    return contrast(effect, terms, alpha)


def interaction_cases():
    rng = random.Random(402)
    rows = [[[100, 10.0, 25.0], [110, 11.0, 26.0], [90, 12.0, 27.0], [105, 15.0, 28.0]], [[2, 1.0, 0.1], [2, 2.0, 0.2], [2, 3.0, 0.3], [2, 4.5, 0.4]]]
    rows += [[[10**9, 1.0, 1.0], [10**9, 1.001, 1.0], [10**9, 1.0, 1.0], [10**9, 1.0033, 1.0]]]
    rows += [cells_of(rng, 4) for _ in range(12)]
    given = [{"cells": cells, "scale": scale, "alpha": rng.choice([0.01, 0.05])} for cells in rows for scale in ("additive", "log")]
    return [case(row, interaction(**row)) for row in given]


# Heterogeneity


def heterogeneity(diffs, errors):
    """Q as the sum over pairs of segments of w w'/W (d - d')^2, which needs no pooled effect."""
    d, w = [exact(value) for value in diffs], [1 / exact(error) ** 2 for error in errors]
    total = mp.fsum(w)
    places = range(len(d))
    q = mp.fsum(w[i] * w[j] * (d[i] - d[j]) ** 2 for i in places for j in places if i < j) / total
    df = len(d) - 1
    pooled = mp.fsum(a * b for a, b in zip(w, d)) / total
    tau2 = max(mp.mpf(0), (q - df) / (total - mp.fsum(a * a for a in w) / total))
    return {
        "q": q, "p_value": mp.gammainc(mp.mpf(df) / 2, q / 2, mp.inf, regularized=True), "tau2": tau2, "pooled": pooled,
        "pooled_standard_error": 1 / mp.sqrt(total), "last": pooled + tau2 / (tau2 + 1 / w[-1]) * (d[-1] - pooled),
    }  # fmt: skip


def heterogeneity_cases():
    rng = random.Random(403)
    rows = [([1.0, 2.0], [0.5, 0.5]), ([1.0, 1.0, 1.0], [0.1, 0.2, 0.3]), ([0.0, 30.0], [1.0, 1.0]), ([1e9, 1e9 + 1], [0.3, 0.2])]
    for _ in range(20):
        scale, spread, count = 10 ** rng.uniform(-6, 6), rng.choice([0, 1, 5]), rng.randint(2, 20)
        errors = [scale * rng.uniform(0.1, 3) for _ in range(count)]
        rows.append(([scale * rng.gauss(2, spread) + rng.gauss(0, error) for error in errors], errors))
    return [case({"diff": diffs, "se": errors}, heterogeneity(diffs, errors)) for diffs, errors in rows]


# Factorial experiments


def factorial(cells, factors, alpha):
    """The mean over all levels of the other factors of the difference of differences, factor by factor."""
    effects = {place: exact(arm[1]) for place, arm in enumerate(cells)}
    k = (len(cells) - 1).bit_length()
    for factor in range(k):
        bit = 1 << factor
        taken = factors & bit
        # The first factor gives a difference; each other one half the difference or the mean of its levels.
        effects = {
            place: (effects[place | bit] - effects[place]) / 2 if taken else (effects[place | bit] + effects[place]) / 2
            for place in effects
            if not place & bit
        }
    terms = [(variance_of(arm) * 4 / mp.mpf(len(cells)) ** 2, arm[0] - 1) for arm in cells]
    return contrast(2 * effects[0], terms, alpha)


def factorial_cases():
    rng = random.Random(404)
    rows = [[[100, 10.0, 25.0], [110, 11.0, 26.0], [90, 12.0, 27.0], [105, 15.0, 28.0]]]
    rows += [cells_of(rng, 2 ** rng.randint(1, 4)) for _ in range(23)]
    given = [{"cells": cells, "factors": rng.randint(1, len(cells) - 1), "alpha": 0.05} for cells in rows]
    return [case(row, factorial(**row)) for row in given]


# Novelty


def novelty(control, treatment, alpha):
    def change(arm):
        n, early, early_variance, late, late_variance, covariance = map(exact, arm)
        return n, late - early, (early_variance + late_variance - 2 * covariance) / n

    (n1, m1, v1), (n2, m2, v2) = change(control), change(treatment)
    test = contrast(m2 - m1, [(v1, n1 - 1), (v2, n2 - 1)], alpha)
    early, late = (exact(treatment[i]) - exact(control[i]) for i in (1, 3))
    trend = "stable" if test["p_value"] >= alpha else "primacy" if test["estimate"] * early > 0 else "novelty"
    test["diff"] = test.pop("estimate")
    return {**test, "early_effect": early, "late_effect": late, "trend": trend}


def novelty_cases():
    rng = random.Random(405)
    rows = []
    for _ in range(24):
        arms = []
        base = rng.uniform(1, 5)
        for is_treatment in (False, True):
            n = int(10 ** rng.uniform(0.8, 6))
            early, late = (base + is_treatment * rng.choice([0, 0.5, -0.4]) + rng.gauss(0, 1) / math.sqrt(n) for _ in range(2))
            sd1, sd2 = rng.uniform(0.5, 2), rng.uniform(0.5, 2)
            arms.append([n, early, sd1 * sd1, late, sd2 * sd2, sd1 * sd2 * rng.uniform(-0.2, 0.9)])
        rows.append({"control": arms[0], "treatment": arms[1], "alpha": 0.05})
    return [case(row, novelty(**row)) for row in rows]


if __name__ == "__main__":
    write("noninferiority.json", noninferiority_cases())
    write("interaction.json", interaction_cases())
    write("heterogeneity.json", heterogeneity_cases())
    write("factorial.json", factorial_cases())
    write("novelty.json", novelty_cases())
