"""Golden vectors for posteriors, rankings of arms, shrinkage and bandits: see generate.py, whose requirements and rules hold
here.

    python generate_bayes.py

What has a closed form is computed with mpmath; integrals over SciPy's densities and areas, in thousands of pieces and without
looking for the integrand first, to some twelve digits.
"""

import random
import sys

import numpy as np
from scipy import integrate, optimize, special, stats

from generate import agree, exact, mp, normal_critical, shown, write


def case(given, expected):
    plain = lambda value: value if value is None or isinstance(value, str) else [shown(v) for v in value] if isinstance(value, list) else shown(value)
    return {"given": given, "expected": {name: plain(value) for name, value in expected.items()}}


def normal_sf(z):
    return mp.erfc(z / mp.sqrt(2)) / 2


# The posterior of an effect


def posterior(diff, se, prior_mean, prior_sd, alpha):
    d, error = exact(diff), exact(se)
    if prior_sd is None:
        mean, sd = d, error
    else:
        m0, s0 = exact(prior_mean), exact(prior_sd)
        weights = 1 / error**2, 1 / s0**2
        mean, sd = (weights[0] * d + weights[1] * m0) / sum(weights), 1 / mp.sqrt(sum(weights))
    z = mean / sd
    # With so many digits the closed form loses none that count.
    with mp.workdps(1200):
        loss = lambda z: mp.exp(-z * z / 2) / mp.sqrt(2 * mp.pi) - z * normal_sf(z)
        losses = sd * loss(z), sd * loss(-z)
    if abs(z) < 8:
        by_quadrature = integrate.quad(lambda x: max(-x, 0) * stats.norm.pdf(x, float(mean), float(sd)), float(mean - 12 * sd), min(0.0, float(mean + 12 * sd)), epsabs=0)[0] if z < 7 else None
        if by_quadrature and by_quadrature > 1e-12 * float(sd):
            agree(losses[0], by_quadrature, 1e-7)
    half = normal_critical(alpha) * sd
    return {
        "mean": mean, "sd": sd, "low": mean - half, "high": mean + half, "probability_better": normal_sf(-z),
        "probability_worse": normal_sf(z), "treatment_loss": losses[0], "control_loss": losses[1],
    }  # fmt: skip


def posterior_cases():
    rng = random.Random(216)
    rows = [
        {"diff": 0.5, "se": 0.22863229709, "prior_mean": 0.0, "prior_sd": None, "alpha": 0.05},
        {"diff": 0.03, "se": 0.015, "prior_mean": 0.0, "prior_sd": 0.1, "alpha": 0.05},
        {"diff": 0.0, "se": 1.0, "prior_mean": 0.0, "prior_sd": None, "alpha": 0.05},
        {"diff": 36.5, "se": 1.0, "prior_mean": 0.0, "prior_sd": None, "alpha": 0.05},
        {"diff": -36.5, "se": 1.0, "prior_mean": 0.0, "prior_sd": None, "alpha": 1e-9},
        {"diff": 1e-7, "se": 1e-9, "prior_mean": 1e-8, "prior_sd": 3e-9, "alpha": 0.05},
        {"diff": 4.0, "se": 1.0, "prior_mean": 0.0, "prior_sd": None, "alpha": 0.05},
        {"diff": 3.999999, "se": 1.0, "prior_mean": 0.0, "prior_sd": None, "alpha": 0.05},
        {"diff": 1.0, "se": 1e-3, "prior_mean": -1.0, "prior_sd": 1e12, "alpha": 0.05},
        {"diff": 1.0, "se": 1e12, "prior_mean": -1e-3, "prior_sd": 1e-3, "alpha": 0.05},
    ]
    for _ in range(40):
        se = 10 ** rng.uniform(-8, 5)
        rows.append({
            "diff": se * rng.uniform(-12, 12), "se": se, "prior_mean": rng.choice([0.0, se * rng.uniform(-3, 3)]),
            "prior_sd": rng.choice([None, se * 10 ** rng.uniform(-2, 3)]), "alpha": rng.choice([0.05, 0.1, 1e-6]),
        })  # fmt: skip
    return [case(row, posterior(**row)) for row in rows]


# Integrals over several beliefs


def composite(pieces, count=24):
    """Nodes and weights of a Gauss–Legendre rule on each of the pieces between ascending points."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    pieces = np.unique(pieces)
    centre, half = (pieces[1:] + pieces[:-1]) / 2, (pieces[1:] - pieces[:-1]) / 2
    return (centre[:, None] + half[:, None] * nodes).ravel(), (half[:, None] * weights).ravel()


class Normal:
    """A normal distribution on its own scale; means are taken from an exact origin, about which doubles are dense."""

    def __init__(self, mean, sd):
        self.exact, self.sd = exact(mean), float(sd)

    def points(self):
        return float(self.exact) + self.sd * np.linspace(-45, 45, 181)

    def at(self, x):
        """Density, areas below and above, and how much of the metric there is to a step."""
        z = (x - float(self.exact)) / self.sd
        return np.exp(-z * z / 2) / self.sd / np.sqrt(2 * np.pi), special.ndtr(z), special.ndtr(-z), np.ones_like(x)

    def shifted(self, origin):
        return Normal(self.exact - origin, self.sd)


class Beta:
    """A beta distribution on the scale of the logit, on which its tails are exponential."""

    def __init__(self, a, b):
        self.a, self.b = a, b
        self.exact = exact(a) / (exact(a) + exact(b))

    def points(self):
        return logits([(self.a, self.b)])

    def at(self, s):
        """Always from the end of the scale that is nearer."""
        measure = special.expit(s) * special.expit(-s)
        near = lambda rate, s: (rate.pdf(special.expit(s)) * measure, rate.cdf(special.expit(s)), rate.sf(special.expit(s)))
        with np.errstate(invalid="ignore", over="ignore"):
            low, high = near(stats.beta(self.a, self.b), s), near(stats.beta(self.b, self.a), -s)
        density, below, above = (np.where(s < 0, *pair) for pair in zip(low, (high[0], high[2], high[1])))
        return density, below, above, measure

    def shifted(self, _):
        return self


def logits(arms):
    """Points of the logit scale that are close together wherever one of the rates may be."""
    points = []
    for a, b in arms:
        centre, scale = np.log((a + 1) / (b + 1)), np.sqrt(1 / (a + 1) + 1 / (b + 1))
        points += [centre + scale * np.linspace(-45, 45, 181)]
        points += [centre - np.geomspace(scale, 800 / a, 80), centre + np.geomspace(scale, 800 / b, 80)]
    points = np.concatenate(points)
    return points[np.abs(points) < 300]


def ranked(arms):
    """By SciPy's areas and densities, all positive, so that small figures are as good as great ones."""
    chances, losses = [], []
    for k, own in enumerate(arms):
        moved = [arm.shifted(own.exact) for arm in arms]
        s, weight = composite(np.concatenate([arm.points() for arm in moved]))
        density, below, _, measure = moved[k].at(s)
        others_below, others_above = np.ones_like(s), np.zeros_like(s)
        for _, one_below, one_above, _ in (arm.at(s) for j, arm in enumerate(moved) if j != k):
            # P(max > s) grows by P(this one > s and none before).
            others_above += others_below * one_above
            others_below *= one_below
        chances.append(weight @ (density * others_below))
        losses.append(weight @ (below * others_above * measure))
    agree(sum(chances), 1, 1e-10)
    # E[max] is the same, whichever arm it is counted from.
    best = max(range(len(arms)), key=lambda k: arms[k].exact)
    for arm, loss in zip(arms, losses):
        if loss > 1e-9 * float(abs(arms[best].exact) + abs(arm.exact)):
            agree(loss, losses[best] + float(arms[best].exact - arm.exact), 1e-6)
    return chances, losses


def normal_ranking_cases():
    rng = random.Random(217)
    rows = [
        [(0.0, 1.0), (0.0, 1.0)], [(0.0, 1.0), (0.0, 1.0), (0.0, 1.0), (0.0, 1.0)], [(0.0, 1.0), (0.0, 1.0), (1.0, 0.5)],
        [(10.0, 0.1), (10.2, 0.12), (9.9, 0.4)], [(1e9, 1e-3), (1e9, 2e-3)], [(0.0, 1.0), (30.0, 1.0)],
        [(0.0, 1e-4), (0.0, 1.0), (3.0, 1.0)], [(0.0, 1e-4), (3.0, 1.0), (-1.0, 2.0)], [(0.0, 1.0), (12.0, 0.3), (9.0, 2.0)],
        [(-3.0, 1e-3), (-3.0005, 1e-3), (-9.0, 1.5)],
    ]  # fmt: skip
    for _ in range(14):
        scale = 10 ** rng.uniform(-6, 4)
        rows.append([(scale * rng.uniform(-3, 3), scale * 10 ** rng.uniform(-1.5, 0.5)) for _ in range(rng.randint(2, 5))])
    cases = []
    for row in rows:
        chances, losses = ranked([Normal(*arm) for arm in row])
        if len(row) == 2:
            (m1, s1), (m2, s2) = [(exact(m), exact(s)) for m, s in row]
            agree(chances[1], normal_sf((m1 - m2) / mp.hypot(s1, s2)), 1e-14)
        cases.append(case({"means": [m for m, _ in row], "sds": [s for _, s in row]}, {"probability_best": chances, "expected_loss": losses}))
    return cases


def beta_ranking_cases():
    rng = random.Random(218)
    rows = [
        [(101, 901), (121, 881)], [(1, 1), (1, 1)], [(1, 101), (1, 101), (1, 101)], [(1, 11), (11, 1)], [(3.5, 0.5), (0.5, 3.5)],
        [(1, 2), (5, 30), (40, 300)], [(1, 1001), (21, 981), (31, 971)], [(0.01, 100.99), (3.01, 97.99)], [(101, 1), (99, 3)],
        [(2, 11), (300, 1702)],
    ]  # fmt: skip
    for _ in range(12):
        arms = []
        p = rng.uniform(0.02, 0.98)
        for _ in range(rng.randint(2, 4)):
            n = int(10 ** rng.uniform(0.4, 3.3))
            arms.append((1 + (x := sum(rng.random() < p for _ in range(n))), 1 + n - x))
        rows.append(arms)
    cases = []
    for row in rows:
        chances, losses = ranked([Beta(*arm) for arm in row])
        cases.append(case({"a": [float(a) for a, _ in row], "b": [float(b) for _, b in row]}, {"probability_best": chances, "expected_loss": losses}))
    return cases


# Two rates


def chances(control, treatment):
    """P(T > C), P(T < C) and the losses of T and of C."""
    (worse, better), (control_loss, treatment_loss) = ranked([Beta(*control), Beta(*treatment)])
    return better, worse, treatment_loss, control_loss


def below(control, treatment, curve):
    """P(the treatment is below `curve` of the control), whose kinks are among the pieces."""
    kinks = curve(None)
    # Close together on the scale of every power that there is at an end or a kink.
    near = [k + sign * 10.0 ** -np.arange(0, 17, 0.5) for k in kinks for sign in (1, -1)]
    pieces = np.concatenate([special.expit(logits([control])), special.expit(np.arange(-300, 36, 0.5)), kinks, *near])
    pieces = pieces[(pieces > 0) & (pieces < 1)]
    c, weight = composite(pieces)
    return weight @ (stats.beta(*control).pdf(c) * stats.beta(*treatment).cdf(np.clip(curve(c), 0, 1)))


def beta_posterior(n1, x1, n2, x2, a, b, alpha):
    control, treatment = (a + x1, b + n1 - x1), (a + x2, b + n2 - x2)
    means = [exact(p) / (exact(p) + exact(q)) for p, q in (control, treatment)]
    variance = lambda p, q: exact(p) * exact(q) / (exact(p) + exact(q)) ** 2 / (exact(p) + exact(q) + 1)
    sd = mp.sqrt(variance(*control) + variance(*treatment))
    better, worse, treatment_loss, control_loss = chances(control, treatment)
    agree(float(means[1] - means[0]), control_loss - treatment_loss, 1e-6) if abs(means[1] - means[0]) > sd / 100 else None
    difference = lambda d: lambda c: [k for k in (-d, 1 - d) if 0 < k < 1] if c is None else c + d
    ratio = lambda r: lambda c: [k for k in (1 / r,) if 0 < k < 1] if c is None else c * r

    def root(area, curve, low, high, tolerance):
        return optimize.brentq(lambda at: below(control, treatment, curve(at)) - area, low, high, xtol=tolerance, rtol=1e-14)

    reach = lambda k: (max(float(means[1] - means[0] - k * sd), -1.0), min(float(means[1] - means[0] + k * sd), 1.0))
    low, high = (root(area, difference, *reach(40), float(sd) * 1e-12) for area in (alpha / 2, 1 - alpha / 2))
    spread = [float(stats.beta(*arm).ppf(q)) for arm in (control, treatment) for q in (1e-6, 1 - 1e-6)]
    bracket = np.log(spread[2] / spread[1]), np.log(spread[3] / spread[0])
    lifts = [np.expm1(root(area, lambda at: ratio(np.exp(at)), *bracket, 1e-13)) for area in (0.5, alpha / 2, 1 - alpha / 2)]
    return {
        "mean": means[1] - means[0], "sd": sd, "low": low, "high": high, "probability_better": better,
        "probability_worse": worse, "treatment_loss": treatment_loss, "control_loss": control_loss,
        "lift": lifts[0], "lift_low": lifts[1], "lift_high": lifts[2], "note": "too_few_units" if 0 in (n1, n2) else None,
    }  # fmt: skip


def beta_posterior_cases():
    rng = random.Random(219)
    rows = [
        (1000, 100, 1000, 120, 1.0, 1.0), (10, 0, 10, 0, 1.0, 1.0), (10, 10, 10, 0, 1.0, 1.0), (10, 0, 10, 10, 1.0, 1.0),
        (10, 0, 10, 10, 0.5, 0.5), (100, 5, 100, 0, 1.0, 1.0), (10000, 5000, 10, 0, 1.0, 1.0), (2, 1, 2, 2, 1.0, 1.0),
        (1000, 30, 1000, 170, 1.0, 1.0), (10**9, 10**8, 10**9, 10**8 + 20000, 1.0, 1.0), (10**9, 10**8, 10**9, 10**8 + 300000, 1.0, 1.0),
        (10**9, 0, 10**9, 7, 1.0, 1.0), (10**9, 3, 10**9, 0, 0.5, 0.5), (10**6, 1000, 10**6, 2500, 5.0, 995.0),
        (100, 0, 1000, 4, 0.1, 9.9), (0, 0, 50, 20, 1.0, 1.0), (20000, 1000, 20000, 1700, 1.0, 1.0),
    ]  # fmt: skip
    while len(rows) < 32:
        n1, n2, p = int(10 ** rng.uniform(0.4, 6)), int(10 ** rng.uniform(0.4, 6)), 10 ** rng.uniform(-3, -0.2)
        x = [sum(rng.random() < p for _ in range(n)) if n < 5000 else round(n * p + rng.gauss(0, 2) * (n * p) ** 0.5) for n in (n1, n2)]
        rows.append((n1, min(max(x[0], 0), n1), n2, min(max(x[1], 0), n2), rng.choice([1.0, 0.5, 3.0]), rng.choice([1.0, 0.5, 30.0])))
    names = ("n1", "x1", "n2", "x2", "a", "b")
    cases = []
    for row in rows:
        given = dict(zip(names, row)) | {"alpha": rng.choice([0.05, 0.05, 0.2, 0.001])}
        cases.append(case(given, beta_posterior(**given)))
    first = cases[0]["expected"]
    agree(first["probability_better"], 0.923183438974, 1e-11)
    agree(first["treatment_loss"], 4.84613926356e-4, 1e-11)
    agree(first["control_loss"], 0.0204446937668, 1e-11)
    return cases


# The prior from past experiments


def prior_cases():
    rng = random.Random(220)
    cases = []
    for index in range(24):
        count = rng.choice([2, 3, 10, 19, 20, 40])
        scale, spread = 10 ** rng.uniform(-6, 3), rng.choice([0.0, 0.5, 1.0, 4.0])
        se = [scale * rng.uniform(0.5, 2) for _ in range(count)]
        lift = [rng.gauss(0, (error**2 + (spread * scale) ** 2) ** 0.5) for error in se]
        squares = mp.fsum(exact(L) ** 2 for L in lift) / count - mp.fsum(exact(e) ** 2 for e in se) / count
        sd = mp.sqrt(max(squares, mp.mpf(0)))
        left = [exact(L) * sd**2 / (sd**2 + exact(e) ** 2) for L, e in zip(lift, se)]
        errors = [mp.sqrt(sd**2 * exact(e) ** 2 / (sd**2 + exact(e) ** 2)) for e in se]
        cases.append(case({"lift": lift, "se": se}, {
            "mean": 0.0, "sd": sd, "shrunken": left, "errors": errors, "expected": mp.fsum(left),
            "standard_error": mp.sqrt(mp.fsum(e**2 for e in errors)), "note": "few_tests" if count < 20 else None,
        }))  # fmt: skip
    return cases


# Bandits


def top_two(w):
    k = len(w)
    if k == 1:
        return w
    return [w[i] * (0.5 + sum(w[j] / (1 - w[j]) for j in range(k) if j != i) / 2) for i in range(k)]


def bandit_cases():
    rng = random.Random(221)
    cases = []
    for index in range(24):
        k = rng.choice([1, 2, 2, 3, 4, 5])
        level, deviation = 10 ** rng.uniform(-2, 4), 10 ** rng.uniform(-1, 1)
        n = [int(10 ** rng.uniform(2.1, 5)) for _ in range(k)]
        if index % 8 == 7:
            n[0] = 99
        mean = [level * (1 + rng.uniform(-0.05, 0.05) * deviation) for _ in range(k)]
        var = [(level * deviation * rng.uniform(0.5, 2)) ** 2 for _ in range(k)]
        maximize, algorithm = rng.random() < 0.7, rng.choice(["thompson", "top_two"])
        floor = rng.choice([0.0, 0.01, 0.05, 0.25])
        prior_mean, prior_sd = (0.0, None) if rng.random() < 0.5 else (level, level * rng.uniform(0.01, 1))
        beliefs = []
        for users, m, v in zip(n, mean, var):
            p, p0 = users / exact(v), 0 if prior_sd is None else 1 / exact(prior_sd) ** 2
            beliefs.append(((p * exact(m) + p0 * exact(prior_mean)) / (p + p0), 1 / mp.sqrt(p + p0)))
        sign = 1 if maximize else -1
        chances, losses = ranked([Normal(sign * m, s) for m, s in beliefs]) if k > 1 else ([1.0], [0.0])
        shares = top_two(chances) if algorithm == "top_two" else chances
        weights = [floor + (1 - k * floor) * w for w in shares] if k * floor < 1 else [mp.mpf(1) / k] * k
        burning = min(n) < 100
        cases.append(case({
            "n": n, "mean": mean, "var": var, "algorithm": algorithm, "floor": floor, "maximize": maximize,
            "prior_mean": prior_mean, "prior_sd": prior_sd,
        }, {
            "post_mean": [m for m, _ in beliefs], "post_sd": [s for _, s in beliefs], "prob_best": chances, "expected_loss": losses,
            "weight": [mp.mpf(1) / k] * k if burning else weights, "note": "burn_in" if burning else None,
        }))  # fmt: skip
    return cases


def period_cases():
    rng = random.Random(222)
    cases = []
    for index in range(24):
        arms, periods, drift = rng.randint(2, 4), rng.randint(1, 6), rng.uniform(-3, 3)
        cells = [
            [p, arm, rng.choice([0, 1, 2, 7, 500, 10**9]) if index % 3 == 0 else int(10 ** rng.uniform(0.4, 6)), 10 + arm + p * drift + rng.gauss(0, 1), rng.uniform(1, 30)]
            for p in range(1, periods + 1) for arm in range(1, arms + 1)
        ]  # fmt: skip
        cells = [cell for cell in cells if cell[2] > 0]
        rng.shuffle(cells)
        # As lists of what each arm has: n, sum of values, sum of squares about 0.
        sums = lambda cell: [exact(cell[2]), cell[2] * exact(cell[3]), (cell[2] - 1) * exact(cell[4]) + cell[2] * exact(cell[3]) ** 2] if cell[2] > 1 else [exact(1), exact(cell[3]), exact(cell[3]) ** 2]
        add = lambda one, other: {arm: [x + y for x, y in zip(one[arm], other[arm])] for arm in one}
        names = sorted({cell[1] for cell in cells})
        groups, waiting, count = [], None, 0
        for p in sorted({cell[0] for cell in cells}):
            count += 1
            own = {arm: [mp.mpf(0)] * 3 for arm in names} | {cell[1]: sums(cell) for cell in cells if cell[0] == p}
            own = add(waiting, own) if waiting else own
            waiting = own if any(own[arm][0] < 2 for arm in names) else None
            groups += [own] if waiting is None else []
        if waiting:
            groups = groups[:-1] + [add(groups[-1], waiting)] if groups else [waiting]
        total = sum(group[arm][0] for group in groups for arm in names)
        estimates, errors, users = [], [], []
        if any(group[arm][0] < 2 for group in groups for arm in names):
            continue
        for arm in names:
            mean, variance = mp.mpf(0), mp.mpf(0)
            for group in groups:
                n, s, q = group[arm]
                share = sum(group[other][0] for other in names) / total
                mean += share * s / n
                variance += share**2 * (q - s * s / n) / (n - 1) / n
            estimates.append(mean)
            errors.append(mp.sqrt(variance))
            users.append(int(sum(group[arm][0] for group in groups)))
        given = {"cells": cells}
        expected = {"arm": names, "n": users, "estimate": [shown(e) for e in estimates], "se": [shown(e) for e in errors], "periods": len(groups), "note": "strata_merged" if len(groups) < count else None}
        cases.append({"given": given, "expected": expected})
    return cases


if __name__ == "__main__":
    parts = {
        "bayes.json": posterior_cases,
        "ranking_normal.json": normal_ranking_cases,
        "ranking_beta.json": beta_ranking_cases,
        "bayes_beta.json": beta_posterior_cases,
        "prior.json": prior_cases,
        "bandit.json": bandit_cases,
        "bandit_periods.json": period_cases,
    }
    for name, cases in parts.items():
        if len(sys.argv) == 1 or name in sys.argv:
            write(name, cases())
