"""Golden vectors for methods on means beyond Welch's test: see generate.py, whose requirements and rules hold here.

    python generate_means.py
"""

import random

from generate import arms, cases_of, exact, fieller, mp, normal_critical, one_sided, p_value, shown, student_critical, student_two_sided, write

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


if __name__ == "__main__":
    write("lift_interval.json", lift_interval_cases())
