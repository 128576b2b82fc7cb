"""Golden vectors for methods on means beyond Welch's test: see generate.py, whose requirements and rules hold here.

    python generate_means.py
"""

import math
import random

from generate import arms, cases_of, exact, fieller, mp, normal_critical, one_sided, p_value, student_critical, student_two_sided, write

# Lift intervals


def lift_interval(n1, mean1, var1, n2, mean2, var2, alpha, method):
    m1, v1, m2, v2 = exact(mean1), exact(var1) / n1, exact(mean2), exact(var2) / n2
    z = normal_critical(alpha)
    ratio, bounds, note = m2 / m1, None, None
    if method == "fieller":
        bounds = fieller(m1, v1, m2, v2, z)
        note = None if bounds else "control_near_zero"
    elif method == "delta":
        half = z * mp.sqrt(v2 / m1**2 + ratio**2 * v1 / m1**2)
        bounds = (ratio - 1 - half, ratio - 1 + half)
        if m1 < 0:
            bounds = (-bounds[1], -bounds[0])
    elif m1 > 0 and m2 > 0:
        half = z * mp.sqrt(v2 / m2**2 + v1 / m1**2)
        bounds = (ratio * mp.exp(-half) - 1, ratio * mp.exp(half) - 1)
    else:
        note = "non_positive_mean"
    low, high = bounds or (None, None)
    return {"lift": (m2 - m1) / abs(m1), "low": low, "high": high, "g": z**2 * v1 / m1**2, "note": note}


def lift_interval_cases():
    rng = random.Random(201)
    # The first two are the gold values of statistics.md.
    rows = [arms(1000, 10.0, 25.0, 1100, 10.5, 30.0), arms(100, 1.0, 4.0, 100, 1.5, 5.0), arms(100, -1.0, 4.0, 100, -1.5, 5.0)]
    rows += [arms(2, 3.0, 1.0, 2, 4.0, 0.0), arms(10**9, 1.0, 1.0, 10**9, 1.00001, 1.0), arms(9, 1.0, 9.0, 9, 1.0, 4.0)]
    for _ in range(14):
        scale = 10 ** rng.uniform(-8, 9)
        n1, n2 = (int(10 ** rng.uniform(0.4, 9)) for _ in range(2))
        mean1 = scale * rng.uniform(0.2, 5)
        rows.append(arms(n1, mean1, scale**2 * rng.random(), n2, mean1 * rng.uniform(0.5, 2), scale**2 * rng.random()))
        rows[-1]["alpha"] = rng.choice([1e-6, 0.01, 0.05, 0.3])
    return cases_of(lift_interval, [{**row, "method": m} for row in rows for m in ("fieller", "delta", "log")])


# Adjusted comparisons


def general_lift(diff, variance, base, base_variance, shared, value):
    """The lifts l with (diff - l base)^2 = value^2 Var(diff - l base), for a base correlated with the difference."""
    a = base**2 - value**2 * base_variance
    if a <= 0:
        return None
    b = diff * base - value**2 * shared
    root = mp.sqrt(b**2 - a * (diff**2 - value**2 * variance))
    low, high = (b - root) / a, (b + root) / a
    return (low, high) if base > 0 else (-high, -low)


def adjusted_columns(diff, terms, base, base_variance, shared, alpha, alternative="two-sided"):
    """The columns of a t-test of `diff` whose noise is the sum of `terms`, pairs of variance and degrees of freedom."""
    variance = mp.fsum(v for v, _ in terms)
    error = mp.sqrt(variance)
    df = variance**2 / mp.fsum(v**2 / d for v, d in terms)
    known = {}

    def value(area):
        if area not in known:
            known[area] = student_critical(area, df)
        return known[area]

    t = diff / error
    low, high = one_sided(alternative, alpha, value, lambda c: (diff - c * error, diff + c * error))
    bounds = general_lift(diff, variance, base, base_variance, shared, value(alpha if alternative == "two-sided" else 2 * exact(alpha)))
    lift_low, lift_high = one_sided(alternative, alpha, value, lambda _: bounds) if bounds else (None, None)
    return {
        "diff": diff, "standard_error": error, "statistic": t, "degrees_of_freedom": df,
        "p_value": p_value(t, alternative, lambda t: student_two_sided(t, df)), "low": low, "high": high,
        "lift": diff / abs(base), "lift_low": lift_low, "lift_high": lift_high, "note": None if bounds else "control_near_zero",
    }  # fmt: skip


def linearised(arm):
    """Mean and variance of the ratio: the variance of Y - r Z over the square of Z's mean."""
    n, my, vy, mz, vz, cyz = map(exact, arm)
    r = my / mz
    return n, r, (vy - 2 * r * cyz + r * r * vz) / mz**2


def ratio(control, treatment, alpha, alternative):
    (n1, r1, v1), (n2, r2, v2) = linearised(control), linearised(treatment)
    columns = adjusted_columns(r2 - r1, [(v1 / n1, n1 - 1), (v2 / n2, n2 - 1)], r1, v1 / n1, -v1 / n1, alpha, alternative)
    z = normal_critical(alpha)
    rough = any(z**2 * exact(arm[4]) / arm[0] / exact(arm[3]) ** 2 > mp.mpf("0.01") for arm in (control, treatment))
    columns["note"] = columns["note"] or ("denominator_near_zero" if rough else None)
    return {**columns, "control_ratio": r1, "treatment_ratio": r2}


def pair(rng, n, effect=0.0, scale=1.0):
    """Users, mean and variance of Y and X, and their covariance."""
    sy, sx, rho = scale * 10 ** rng.uniform(-0.5, 0.5), 10 ** rng.uniform(-0.5, 0.5), rng.uniform(-0.95, 0.95)
    my = scale * rng.uniform(1, 4) + effect * sy / math.sqrt(n)
    mx = 3 + rng.gauss(0, 1) * sx / math.sqrt(n)
    return [n, my, sy * sy, mx, sx * sx, rho * sy * sx]


def treated(rng, arm, n):
    """An arm like the other one, but for noise and an effect of some standard errors."""
    _, my, vy, mx, vx, cxy = arm
    error = math.sqrt(vy / n + vy / arm[0])
    f = rng.uniform(0.8, 1.2)
    return [n, my + rng.uniform(-5, 5) * error, vy * f, mx + rng.gauss(0, 1) * math.sqrt(vx / n + vx / arm[0]), vx * f, cxy * f]


def pairs_of_arms(rng, count):
    rows = []
    for _ in range(count):
        n1, n2 = (int(10 ** rng.uniform(0.7, 7)) for _ in range(2))
        control = pair(rng, n1, scale=10 ** rng.uniform(-4, 6))
        rows.append((control, treated(rng, control, n2)))
    rows.append(([2, 3.0, 1.0, 2.0, 1.0, 0.5], [2, 4.0, 2.0, 2.5, 1.5, 0.5]))
    rows.append(([10**9, 3.0, 40.0, 2.0, 9.0, 11.0], [10**9, 3.001, 41.0, 2.0001, 9.1, 11.0]))
    rows.append(([10**9, 1.0, 1.0, 2.0, 1.0, 0.5], [10**9, 1.0014, 1.0, 2.0, 1.0, 0.5]))  # p near 1e-290
    rows.append(([500, -3.0, 4.0, 2.0, 1.0, 0.9], [600, -2.7, 4.0, 2.1, 1.0, 0.9]))
    return rows


def ratio_cases():
    rng = random.Random(202)
    rows = [(c, t, 0.05, "two-sided") for c, t in pairs_of_arms(rng, 12)]
    rows += [(c, t, rng.choice([0.01, 0.05, 0.2]), rng.choice(["two-sided", "greater", "less"])) for c, t in pairs_of_arms(rng, 12)]
    return cases_of(ratio, [dict(zip(("control", "treatment", "alpha", "alternative"), row)) for row in rows])


def cuped_columns(control, treatment, theta, alpha, alternative):
    (n1, my1, vy1, mx1, vx1, c1), (n2, my2, vy2, mx2, vx2, c2) = control, treatment
    left1, left2 = vy1 - 2 * theta * c1 + theta**2 * vx1, vy2 - 2 * theta * c2 + theta**2 * vx2
    diff = my2 - my1 - theta * (mx2 - mx1)
    centre = (n1 * mx1 + n2 * mx2) / (n1 + n2)
    columns = adjusted_columns(
        diff, [(left1 / n1, n1 - 1), (left2 / n2, n2 - 1)], my1, vy1 / n1, -(vy1 - theta * c1) / n1, alpha, alternative
    )

    def plain(m1, v1, m2, v2, alternative):
        columns = adjusted_columns(m2 - m1, [(v1 / n1, n1 - 1), (v2 / n2, n2 - 1)], m1, v1 / n1, -v1 / n1, mp.mpf("0.05"), alternative)
        return columns["p_value"]

    inner = lambda a, b: (n1 - 1) * a + (n2 - 1) * b
    return {
        **columns, "theta": theta, "rho": inner(c1, c2) / mp.sqrt(inner(vy1, vy2) * inner(vx1, vx2)),
        "variance_reduction": 1 - (left1 / n1 + left2 / n2) / (vy1 / n1 + vy2 / n2),
        "adjusted_control_mean": my1 - theta * (mx1 - centre), "adjusted_treatment_mean": my2 - theta * (mx2 - centre),
        "raw_p_value": plain(my1, vy1, my2, vy2, alternative), "balance": plain(mx1, vx1, mx2, vx2, "two-sided"),
    }  # fmt: skip


def cuped(control, treatment, alpha, alternative, theta):
    control, treatment = [exact(figure) for figure in control], [exact(figure) for figure in treatment]
    if theta is None:
        (n1, _, _, _, vx1, c1), (n2, _, _, _, vx2, c2) = control, treatment
        theta = ((n1 - 1) * c1 + (n2 - 1) * c2) / ((n1 - 1) * vx1 + (n2 - 1) * vx2)
    return cuped_columns(control, treatment, exact(theta), alpha, alternative)


def cuped_cases():
    rng = random.Random(203)
    rows = [(c, t, 0.05, "two-sided", None) for c, t in pairs_of_arms(rng, 12)]
    rows += [
        (c, t, rng.choice([0.01, 0.1]), rng.choice(["two-sided", "greater", "less"]), rng.choice([None, 0.0, 0.3]))
        for c, t in pairs_of_arms(rng, 8)
    ]
    return cases_of(cuped, [dict(zip(("control", "treatment", "alpha", "alternative", "theta"), row)) for row in rows])


def cuped_ratio(control, treatment, alpha):
    """Linearises through the matrix of second moments of (Y, Z, U, W)."""

    def linear(figures):
        n, means = exact(figures[0]), [exact(f) for f in figures[1:5]]
        moments = mp.matrix(4, 4)
        for i in range(4):
            for j in range(4):
                moments[i, j] = exact(figures[5 + 4 * min(i, j) + max(i, j)])
        y, z, u, w = means
        own = mp.matrix([1 / z, -y / z**2, 0, 0])
        before = mp.matrix([0, 0, 1 / w, -u / w**2])
        inner = lambda a, b: (a.T * moments * b)[0]
        return [n, y / z, inner(own, own), u / w, inner(before, before), inner(own, before)]

    first, second = linear(control), linear(treatment)
    theta = (first[5] / first[0] + second[5] / second[0]) / (first[4] / first[0] + second[4] / second[0])
    return cuped_columns(first, second, theta, alpha, "two-sided")


def cuped_ratio_cases():
    rng = random.Random(204)
    rows = []
    for _ in range(22):
        arms = []
        for n in (int(10 ** rng.uniform(1, 8)), int(10 ** rng.uniform(1, 8))):
            means = [rng.uniform(2, 3) + rng.gauss(0, 2) / math.sqrt(n), 4.0 + rng.random() / math.sqrt(n), rng.uniform(2, 2.1), 3.9]
            # A product with its transpose is a possible covariance matrix.
            root = [[rng.gauss(0, 1) for _ in range(4)] for _ in range(4)]
            matrix = [sum(root[i][k] * root[j][k] for k in range(4)) for i in range(4) for j in range(4)]
            arms.append([n, *means, *matrix])
        rows.append({"control": arms[0], "treatment": arms[1], "alpha": rng.choice([0.01, 0.05])})
    return cases_of(cuped_ratio, rows)


def stratified_cuped(control, treatment, alpha):
    total = mp.mpf(sum(arm[0] for arm in control + treatment))
    diff = base = base_variance = shared = mp.mpf(0)
    terms = []
    for first, second in zip(control, treatment):
        (n1, my1, vy1, mx1, vx1, c1), (n2, my2, vy2, mx2, vx2, c2) = ([exact(f) for f in arm] for arm in (first, second))
        w = (n1 + n2) / total
        spread = (n1 - 1) * vx1 + (n2 - 1) * vx2
        theta = ((n1 - 1) * c1 + (n2 - 1) * c2) / spread if spread else mp.mpf(0)
        diff += w * (my2 - my1 - theta * (mx2 - mx1))
        base += w * my1
        base_variance += w**2 * vy1 / n1
        shared -= w**2 * (vy1 - theta * c1) / n1
        terms += [(w**2 * (vy - 2 * theta * c + theta**2 * vx) / n, n - 1) for n, vy, vx, c in ((n1, vy1, vx1, c1), (n2, vy2, vx2, c2))]
    return adjusted_columns(diff, terms, base, base_variance, shared, alpha)


def stratified_cuped_cases():
    rng = random.Random(205)
    rows = []
    for i in range(24):
        strata = pairs_of_arms(rng, 0)[:2] if i == 0 else []
        for _ in range(rng.randint(1, 5)):
            n1, n2 = (int(10 ** rng.uniform(0.7, 6)) for _ in range(2))
            control = pair(rng, n1)
            strata.append((control, treated(rng, control, n2)))
        blank = range(len(strata)) if i % 3 == 0 else [0]
        for h in blank:
            for arm in strata[h]:
                arm[3] = arm[4] = arm[5] = 0.0
        rows.append({"control": [c for c, _ in strata], "treatment": [t for _, t in strata]})
    return cases_of(stratified_cuped, rows)


if __name__ == "__main__":
    write("lift_interval.json", lift_interval_cases())
    write("ratio.json", ratio_cases())
    write("cuped.json", cuped_cases())
    write("cuped_ratio.json", cuped_ratio_cases())
    write("stratified_cuped.json", stratified_cuped_cases())
