"""Golden vectors for methods on counts and p-values: see generate.py, whose requirements and rules hold here.

    python generate_counts.py
"""

import math
import random
from collections import Counter
from fractions import Fraction

from scipy import special, stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from generate import agree, exact, mp, normal_critical, normal_two_sided, one_sided, shown, wilson, write


def case(given, expected):
    return {"given": given, "expected": {name: shown(value) for name, value in expected.items()}}


# Multiple testing


def adjusted(p, method):
    """From the definition: the least alpha at which the procedure rejects the hypothesis."""
    tested = [exact(value) for value in p if value is not None]
    m = len(tested)
    ranked = sorted(tested)
    harmonic = mp.fsum(mp.mpf(1) / i for i in range(1, m + 1))

    def of(value):
        if method == "bonferroni":
            return min(1, m * value)
        # Ranks from 1; with ties any rank of equal values gives the same answer.
        steps = {
            "holm": lambda i: (m - i + 1) * ranked[i - 1],
            "hochberg": lambda i: (m - i + 1) * ranked[i - 1],
            "bh": lambda i: m * ranked[i - 1] / i,
            "by": lambda i: m * harmonic * ranked[i - 1] / i,
        }[method]
        if method == "holm":
            return min(1, max(steps(i) for i in range(1, m + 1) if ranked[i - 1] <= value))
        return min(1, min(steps(i) for i in range(1, m + 1) if ranked[i - 1] >= value))

    return [None if value is None else of(exact(value)) for value in p]


def multiplicity_cases():
    rng = random.Random(101)
    families = [
        [0.001, 0.02, 0.03, 0.04, 0.5],  # the gold values of statistics.md
        [0.04, 0.5, 0.001, 0.03, 0.02],
        [0.04, None, 0.5, 0.001, None, 0.03, 0.02],
        [0.01, 0.01, 0.01, 0.2, 0.2],
        [0.0, 1.0, 1.0, 1e-300],
        [None, None],
        [0.7],
        [rng.random() ** 4 for _ in range(60)],
        [None if rng.random() < 0.2 else 10 ** rng.uniform(-300, 0) for _ in range(40)],
    ]
    names = {"bonferroni": "bonferroni", "holm": "holm", "hochberg": "simes-hochberg", "bh": "fdr_bh", "by": "fdr_by"}
    cases = []
    for p in families:
        for method, theirs in names.items():
            found = adjusted(p, method)
            if tested := [value for value in p if value is not None]:
                for ours, other in zip([v for v in found if v is not None], multipletests(tested, method=theirs)[1]):
                    agree(ours, other)
            cases.append({"given": {"p": p, "method": method}, "expected": {"adjusted": [shown(value) for value in found]}})
    return cases


# Sample ratio


def area_above(x, df):
    """P(chi-square > x)."""
    return mp.gammainc(mp.mpf(df) / 2, exact(x) / 2, mp.inf, regularized=True)


def phases_of(cells):
    return [[cell for cell in cells if cell[0] == phase] for phase in sorted({cell[0] for cell in cells})]


def sample_ratio(cells):
    statistic, df, note = mp.mpf(0), 0, None
    for phase in phases_of(cells):
        users, weight = sum(cell[2] for cell in phase), mp.fsum(exact(cell[3]) for cell in phase)
        expected = [users * exact(cell[3]) / weight for cell in phase]
        statistic += mp.fsum((cell[2] - e) ** 2 / e for cell, e in zip(phase, expected))
        df += len(phase) - 1
        note = note or ("small_counts" if min(expected) < 5 else None)
    p = area_above(statistic, df)
    if len(phases_of(cells)) == 1 and p > 1e-200:
        agree(p, stats.chisquare([cell[2] for cell in cells], [float(e) for e in expected]).pvalue, 1e-6)
    return {"statistic": statistic, "degrees_of_freedom": df, "p_value": p, "note": note}


def sequential_sample_ratio(cells, concentration):
    log_e = mp.mpf(0)
    for phase in phases_of(cells):
        users, weight = sum(cell[2] for cell in phase), mp.fsum(exact(cell[3]) for cell in phase)
        a = exact(concentration)
        log_e += mp.loggamma(a) - mp.loggamma(a + users)
        for cell in phase:
            share = exact(cell[3]) / weight
            log_e += mp.loggamma(a * share + cell[2]) - mp.loggamma(a * share) - cell[2] * mp.log(share)
    return {"log_e": log_e, "p_value": min(mp.mpf(1), mp.exp(-log_e))}


def ratio_rows():
    rng = random.Random(102)

    def phase(number, observed, weights):
        return [[number, arm, n, w] for arm, (n, w) in enumerate(zip(observed, weights))]

    # The first two are the gold values of statistics.md.
    rows = [phase(0, (10000, 10300), (0.5, 0.5)), phase(0, (5000, 2600, 2500), (0.5, 0.25, 0.25))]
    rows += [
        phase(0, (10000, 10300), (1, 1)),
        phase(0, (1, 1), (1, 1)),
        phase(0, (0, 8), (1, 1)),
        phase(0, (500_000_000, 500_050_000), (50, 50)),
        phase(0, (333_333_333, 333_350_000, 333_300_000), (1, 1, 1)),
        phase(0, (10**9, 10**9 + 1), (1, 1)),
        phase(0, (50_000, 57_000), (1, 1)),
        phase(0, (500_000, 526_600), (1, 1)),  # p near 1e-150
        phase(0, (990, 10), (99, 1)),
        phase(0, (9000, 1000), (0.9, 0.1)) + phase(1, (5020, 4980), (0.5, 0.5)),
        phase(3, (9000, 1000), (0.9, 0.1)) + phase(7, (5300, 4900, 5100), (1, 1, 1)) + phase(9, (2, 3), (1, 1)),
    ]
    for _ in range(14):
        arms = rng.randint(2, 6)
        weights = [rng.choice([1.0, 2.0, rng.random() + 0.05]) for _ in range(arms)]
        users = 10 ** rng.uniform(1, 8)
        means = [users * w / sum(weights) for w in weights]
        rows.append(phase(0, [max(0, int(rng.gauss(mean, rng.choice([1, 3]) * math.sqrt(mean)))) for mean in means], weights))
    return rows


def sample_ratio_cases():
    return [case({"cells": cells}, sample_ratio(cells)) for cells in ratio_rows()]


def sequential_sample_ratio_cases():
    rng = random.Random(103)
    rows = [(cells, 100.0 if i % 2 else 10 ** rng.uniform(-1, 5)) for i, cells in enumerate(ratio_rows())]
    found = [({"cells": cells, "concentration": a}, sequential_sample_ratio(cells, a)) for cells, a in rows]
    return [case(given, expected) for given, expected in found if expected["p_value"] > 1e-290]


# Tables


def chi_square(counts, conversions, yates):
    users, converted = sum(counts), sum(conversions)
    statistic, least = mp.mpf(0), mp.inf
    for n, x in zip(counts, conversions):
        for observed, total in ((x, converted), (n - x, users - converted)):
            expected = mp.mpf(n) * total / users
            off = abs(observed - expected)
            off -= min(mp.mpf(1) / 2, off) if yates else 0
            statistic, least = statistic + off**2 / expected, min(least, expected)
    p = area_above(statistic, len(counts) - 1)
    table = [conversions, [n - x for n, x in zip(counts, conversions)]]
    if p > 1e-200 and users < 10**8:
        agree(p, stats.chi2_contingency(table, correction=yates).pvalue, 1e-6)
    return {"statistic": statistic, "p_value": p, "min_expected": least, "note": "small_counts" if least < 5 else None}


def chi_square_cases():
    rng = random.Random(104)
    gold = {"counts": [1000, 1000], "conversions": [100, 130]}
    rows = [{**gold, "yates": False}, {**gold, "yates": True}]
    rows += [
        {"counts": [2, 2], "conversions": [1, 1], "yates": True},
        {"counts": [1, 1], "conversions": [0, 1], "yates": False},
        {"counts": [10**9, 10**9], "conversions": [10**8, 10**8 + 20000], "yates": False},
        {"counts": [10**9, 10**9], "conversions": [10**8, 10**8 + 495000], "yates": False},
        {"counts": [10**9, 10**9, 10**9], "conversions": [10**8, 10**8 + 20000, 10**8 - 3], "yates": False},
        {"counts": [10000, 10000], "conversions": [1000, 1150], "yates": False},
        {"counts": [25000, 25000], "conversions": [2500, 2875], "yates": False},
        {"counts": [25000, 25000], "conversions": [2500, 2875], "yates": True},
    ]
    for _ in range(14):
        arms = rng.randint(2, 7)
        rate = rng.uniform(0.01, 0.9)
        counts = [int(10 ** rng.uniform(1, 7)) for _ in range(arms)]
        conversions = [min(n, max(0, int(rng.gauss(n * rate, 2 * math.sqrt(n * rate * (1 - rate)))))) for n in counts]
        if 0 < sum(conversions) < sum(counts):
            rows.append({"counts": counts, "conversions": conversions, "yates": arms == 2 and rng.random() < 0.5})
    return [case(row, chi_square(**row)) for row in rows]


def fisher(n1, x1, n2, x2, alternative):
    """Exact integers: the masses of all tables over their common denominator, or a stretch of them where that is all."""
    users, converted = n1 + n2, x1 + x2
    lowest, highest = max(0, converted - n1), min(converted, n2)
    if users <= 3000:
        masses = {k: math.comb(n2, k) * math.comb(n1, converted - k) for k in range(lowest, highest + 1)}
        whole = math.comb(users, converted)
        observed = masses[x2]
        chosen = {
            "greater": lambda k, mass: k >= x2,
            "less": lambda k, mass: k <= x2,
            "two-sided": lambda k, mass: mass * 10**7 <= observed * (10**7 + 1),
        }[alternative]
        p = exact(Fraction(sum(mass for k, mass in masses.items() if chosen(k, mass)), whole))
    else:
        def choose(n, k):
            return mp.loggamma(n + 1) - mp.loggamma(k + 1) - mp.loggamma(n - k + 1)

        centre = min(max(converted * n2 // users, lowest), highest)
        spread = math.sqrt(n1 / users * n2 / users * converted / users * (users - converted)) + 1
        reach = int(45 * spread) + 50
        first, last = max(lowest, min(centre, x2) - reach), min(highest, max(centre, x2) + reach)
        mass = mp.exp(choose(n2, first) + choose(n1, converted - first) - choose(users, converted))
        masses = {}
        for k in range(first, last + 1):
            masses[k] = mass
            mass = mass * (converted - k) * (n2 - k) / ((k + 1) * (n1 - converted + k + 1))
        chosen = {
            "greater": lambda k, mass: k >= x2,
            "less": lambda k, mass: k <= x2,
            "two-sided": lambda k, mass: mass <= masses[x2] * (1 + mp.mpf("1e-7")),
        }[alternative]
        p = mp.fsum(mass for k, mass in masses.items() if chosen(k, mass))
    above, below = x1 * (n2 - x2), x2 * (n1 - x1)
    ratio = mp.mpf(above) / below if below else (mp.inf if above else None)
    if users < 10**6:
        # SciPy's alternatives are those of the table's first row, the control.
        named = {"greater": "less", "less": "greater"}.get(alternative, alternative)
        agree(p, stats.fisher_exact([[x1, n1 - x1], [x2, n2 - x2]], named).pvalue, 1e-7)
    return {"odds_ratio": ratio, "p_value": p}


def fisher_cases():
    rng = random.Random(105)
    # The first two are the gold values of statistics.md.
    tables = [(1000, 100, 1000, 130), (10, 1, 14, 11), (1, 0, 1, 1), (2, 1, 2, 1), (5, 0, 7, 0), (5, 5, 7, 7), (5, 0, 7, 7), (8, 8, 8, 0)]
    tables += [(30, 3, 30, 9), (30, 9, 30, 3), (10, 5, 10, 5), (400, 1, 600, 30), (1000, 500, 1000, 20), (700, 350, 700, 351)]
    tables += [(200000, 1000, 300000, 1700), (10**6, 5000, 10**6, 5200), (10**9, 40, 10**9, 75), (5 * 10**8, 3000, 10**9, 6400)]
    for _ in range(12):
        n1, n2 = (int(10 ** rng.uniform(0.5, 3)) for _ in range(2))
        rate = rng.random() ** 2
        tables.append((n1, int(n1 * rate), n2, min(n2, int(n2 * rate * rng.uniform(0.4, 1.6)))))
    names = ("n1", "x1", "n2", "x2")
    rows = [{**dict(zip(names, table)), "alternative": a} for table in tables for a in ("two-sided", "greater", "less")]
    return [case(row, fisher(**row)) for row in rows]


# Ranks


def rank_sum(x, y):
    """U by counting pairs."""
    u = sum(Fraction((a > b) * 2 + (a == b), 2) for a in x for b in y)
    pairs, total = len(x) * len(y), len(x) + len(y)
    ties = sum(t**3 - t for t in Counter(x + y).values())
    variance = Fraction(pairs, 12) * (total + 1 - Fraction(ties, total * (total - 1)))
    off = max(abs(u - Fraction(pairs, 2)) - Fraction(1, 2), 0)
    z = exact(off) / mp.sqrt(exact(variance)) if variance else None
    p = mp.mpf(1) if z is None else normal_two_sided(z)
    if z is not None:
        agree(p, stats.mannwhitneyu(x, y, method="asymptotic").pvalue)
    return {"u": exact(u), "z": z, "p_value": p, "prob_superiority": exact(1 - u / pairs), "note": None}


def rank_sum_cases():
    rng = random.Random(106)
    rows = [([1, 2, 2, 3, 9], [2, 4, 5, 6, 7, 8])]  # the gold value of statistics.md
    rows += [([1.5], [2.5]), ([1], [1]), ([3, 3, 3], [3, 3]), ([0, 0, 0, 5], [0, 0, 7, 9, 0]), ([1, 2], [3, 4, 5]), ([-1, 0, 1], [0])]
    for _ in range(16):
        size = rng.randint(5, 60)
        decimals = rng.choice([0, 1, 6])
        shift = rng.choice([0, 0.5, 3])
        rows.append(
            (
                [round(rng.expovariate(0.5), decimals) for _ in range(size)],
                [round(rng.expovariate(0.5) + shift, decimals) for _ in range(rng.randint(5, 60))],
            )
        )
    # Far apart, for a small p-value.
    rows.append(([rng.random() for _ in range(300)], [rng.random() + 2 for _ in range(320)]))
    return [case({"x": x, "y": y}, rank_sum(x, y)) for x, y in rows]


# Intervals of one proportion


def beta_area(x, a, b):
    """I_x(a, b) by its power series, all of whose terms are positive and which is short for a < b."""
    if a > b:
        return 1 - beta_area(1 - x, b, a)
    term = total = mp.mpf(1)
    n = 0
    while term > total * mp.mpf("1e-45"):
        term *= x * (a + b + n) / (a + 1 + n)
        total += term
        n += 1
    return mp.exp(a * mp.log(x) + b * mp.log1p(-x) - mp.log(a) - ln_beta(a, b)) * total


def ln_beta(a, b):
    return mp.loggamma(a) + mp.loggamma(b) - mp.loggamma(a + b)


def beta_quantile(area, a, b):
    """Newton's method in ln x, from SciPy's answer, to an error beyond 25 digits."""
    area, a, b = exact(area), exact(a), exact(b)
    x = mp.mpf(float(special.betaincinv(float(a), float(b), float(area))))
    for _ in range(20):
        inside = beta_area(x, a, b)
        slope = mp.exp(a * mp.log(x) + (b - 1) * mp.log1p(-x) - ln_beta(a, b))
        step = mp.log(inside / area) * inside / slope
        x *= mp.exp(-step)
        if abs(step) < mp.mpf("1e-14"):
            return x
    raise ArithmeticError((area, a, b))


def proportion_method(n, x, alpha, method):
    half = exact(alpha) / 2
    if method == "agresti_coull":
        z = normal_critical(alpha)
        users = n + z * z
        rate = (x + z * z / 2) / users
        width = z * mp.sqrt(rate * (1 - rate) / users)
        low, high = max(mp.mpf(0), rate - width), min(mp.mpf(1), rate + width)
    elif method == "wilson":
        low, high = wilson(n, x, normal_critical(alpha))
    else:
        s = mp.mpf(1) / 2 if method == "jeffreys" else 0
        low = mp.mpf(0) if x == 0 else beta_quantile(half, x + s, n - x + 1 - s)
        s = 1 - s
        high = mp.mpf(1) if x == n else 1 - beta_quantile(half, n - x + 1 - s, x + s)
    if n < 10**6:
        named = {"exact": "beta"}.get(method, method)
        theirs = proportion_confint(x, n, alpha=alpha, method=named)
        # Statsmodels takes Jeffreys's own quantiles also at the ends.
        if x and (method != "jeffreys" or x < n):
            agree(low, theirs[0], 1e-6)
        if x < n and (method != "jeffreys" or x):
            agree(high, theirs[1], 1e-6)
    return {"low": low, "high": high}


def proportion_method_cases():
    rng = random.Random(107)
    # The first three are the gold values of statistics.md.
    rows = [(10, 0, 0.05), (10, 10, 0.05), (1000, 100, 0.05), (1, 0, 0.05), (1, 1, 0.05), (2, 1, 0.05), (3, 2, 0.9)]
    rows += [(10**9, 0, 0.05), (10**9, 1, 0.05), (10**9, 10**9, 0.05), (10**9, 10**9 - 20, 0.05), (10**7, 4 * 10**6, 0.05), (10**6, 4, 1e-12)]
    for _ in range(12):
        n = int(10 ** rng.uniform(0.4, 5.5))
        rows.append((n, int(n * rng.random() ** rng.choice([1, 4])), rng.choice([1e-6, 0.001, 0.05, 0.2])))
    methods = ("wilson", "exact", "jeffreys", "agresti_coull")
    given = [{"n": n, "x": x, "alpha": alpha, "method": method} for n, x, alpha in rows for method in methods]
    return [case(row, proportion_method(**row)) for row in given]


def wald_cases():
    rng = random.Random(108)
    rows = [(1000, 100, 1000, 130), (10, 0, 10, 0), (10, 10, 10, 3), (10**9, 10**8, 10**9, 10**8 + 20000)]
    for _ in range(18):
        n1, n2 = (int(10 ** rng.uniform(0.4, 8)) for _ in range(2))
        rows.append((n1, int(n1 * rng.random()), n2, int(n2 * rng.random())))
    cases = []
    for n1, x1, n2, x2 in rows:
        alternative = rng.choice(["two-sided", "two-sided", "greater", "less"])
        p1, p2 = mp.mpf(x1) / n1, mp.mpf(x2) / n2
        error = mp.sqrt(p1 * (1 - p1) / n1 + p2 * (1 - p2) / n2)
        low, high = one_sided(alternative, 0.05, normal_critical, lambda z: (p2 - p1 - z * error, p2 - p1 + z * error))
        given = {"n1": n1, "x1": x1, "n2": n2, "x2": x2, "alpha": 0.05, "alternative": alternative}
        cases.append(case(given, {"low": low, "high": high}))
    return cases


if __name__ == "__main__":
    write("multiplicity.json", multiplicity_cases())
    write("sample_ratio.json", sample_ratio_cases())
    write("sequential_sample_ratio.json", sequential_sample_ratio_cases())
    write("chi_square.json", chi_square_cases())
    write("fisher.json", fisher_cases())
    write("rank_sum.json", rank_sum_cases())
    write("proportion_method.json", proportion_method_cases())
    write("wald.json", wald_cases())
