"""Golden vectors for core/src/statistics: what the Rust tests are held to.

    pip install mpmath==1.4.1 scipy==1.17.1 statsmodels==0.15.0
    python generate.py [path to cookie_cats.csv]

Writes the JSON files beside this script; the result is the same on every run. Without the path cookie_cats.json is left
alone. It holds the aggregates of that public data set and none of its rows.

Every expected number is computed with mpmath at 50 digits, from the definition and not from the formula used in Rust: t
areas by integrating the density, quantiles by root finding, Wilson and Fieller bounds as roots of their quadratic
equations. Where SciPy or statsmodels has the function, the number is checked against it to 1e-9 here.
"""

import csv
import json
import math
import random
import sys
from fractions import Fraction
from pathlib import Path

import mpmath as mp
from scipy import special, stats
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint, proportions_ztest

mp.mp.dps = 50
HERE = Path(__file__).parent
HALF = mp.mpf(1) / 2
SMALLEST = mp.mpf("1e-300")


def exact(number):
    """A float, int or Fraction without rounding."""
    return mp.mpf(number.numerator) / number.denominator if isinstance(number, Fraction) else mp.mpf(number)


def shown(number):
    """The nearest double, which JSON writes in full; JSON has no infinity."""
    if number is None or isinstance(number, str):
        return number
    number = float(number)
    return number if math.isfinite(number) else str(number)


def agree(ours, theirs, tolerance=1e-9):
    ours, theirs = float(ours), float(theirs)
    assert abs(ours - theirs) <= tolerance * max(abs(ours), 1e-290), (ours, theirs)


def write(name, cases, least=20):
    assert len(cases) >= least, name
    lines = ",\n".join(json.dumps(case) for case in cases)
    (HERE / name).write_text(f"[\n{lines}\n]\n")
    print(f"{name}: {len(cases)} cases")


# Distributions


def normal_two_sided(z):
    return mp.erfc(abs(exact(z)) / mp.sqrt(2))


def student_density(t, df):
    log = mp.loggamma((df + 1) / 2) - mp.loggamma(df / 2) - mp.log(df * mp.pi) / 2
    return mp.exp(log - (df + 1) / 2 * mp.log1p(t * t / df))


def student_two_sided(t, df):
    """P(|T| > t) by quadrature of the density: from 0 where that is short, else from t on in steps of a log scale."""
    t, df = abs(exact(t)), exact(df)
    if t < 2:
        return 1 - 2 * mp.quad(lambda s: student_density(s, df), [0, t])
    base = mp.log1p(t * t / df)
    # The integrand falls at least like exp(-decay * u); quad's error is absolute, so it is scaled to start at 1.
    decay = (df + 1) * t * t / (df + t * t) - 1
    end = mp.mpf(120) / decay

    def scaled(u):
        s = t * mp.exp(u)
        return mp.exp(u - (df + 1) / 2 * (mp.log1p(s * s / df) - base))

    return 2 * t * student_density(t, df) * mp.quad(scaled, [0] + [end / 2**k for k in range(6, -1, -1)])


def critical(area, two_sided, density, start):
    """The t with two_sided(t) = area, by Newton's method on log-log scale from a good start."""
    area, t = exact(area), exact(start)
    for _ in range(60):
        outside = two_sided(t)
        slope = 2 * t * density(t)
        if area <= HALF:
            step = mp.log(outside / area) * outside / slope
        else:
            step = mp.log((1 - area) / (1 - outside)) * (1 - outside) / slope
        t *= mp.exp(step)
        # Quadratic convergence: a step this small leaves an error beyond 30 digits.
        if abs(step) < mp.mpf("1e-16"):
            return t
    raise ArithmeticError(area)


def normal_critical(area):
    if area == 1:
        return mp.mpf(0)
    start = stats.norm.isf(float(area) / 2) if area < 0.999 else (1 - area) * 1.25
    return critical(area, normal_two_sided, lambda z: mp.exp(-z * z / 2) / mp.sqrt(2 * mp.pi), start)


def student_critical(area, df):
    if area == 1:
        return mp.mpf(0)
    df, z = exact(df), normal_critical(area)
    if df > 1000 * z * z + 30:
        start = z + (z**3 + z) / (4 * df) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df * df)
    else:
        start = stats.t.isf(float(area) / 2, float(df)) if area < 0.999 else z
    return critical(area, lambda t: student_two_sided(t, df), lambda t: student_density(t, df), start)


def normal_cases():
    rng = random.Random(1)
    points = [0.0, 1e-9, 1e-3, 0.1, 0.5, 1.0, 1.5, 1.959963984540054, 2.10274060562, 3.0, 5.0, 8.3, 12.0, 20.0, 30.0, 37.0]
    cases = []
    for z in points + [rng.uniform(0, 37) for _ in range(20)]:
        area = normal_two_sided(z)
        agree(area, special.erfc(z / math.sqrt(2)))
        cases.append({"z": z, "two_sided": shown(area)})
    return cases


AREAS = [1e-300, 1e-100, 1e-30, 1e-12, 1e-6, 1e-3, 0.01, 0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.9999]


def normal_critical_cases():
    rng = random.Random(2)
    areas = AREAS + [10 ** rng.uniform(-300, 0) for _ in range(10)]
    return [{"area": area, "z": shown(normal_critical(area))} for area in areas]


DEGREES = [1, 1.5, 2, 3, 4.85438335810, 7, 15.5, 30, 33, 100, 333.3, 1e3, 1e4, 1e5, 1e6, 1e7, 2e7, 1e8, 1e9]


def student_cases():
    rng = random.Random(3)
    cases = []
    for df in DEGREES:
        for t in [1e-9, 1e-4, 0.1, 0.7, 1.7, 1.732, 1.7321, 1.8, 3.0, 12.0, 36.9, 1e3] + [10 ** rng.uniform(-3, 3) for _ in range(4)]:
            area = student_two_sided(t, df)
            if area >= SMALLEST:
                # SciPy's own error grows with df in the far tail.
                agree(area, 2 * special.stdtr(df, -t), 1e-6)
                cases.append({"t": t, "df": df, "two_sided": shown(area)})
    return cases


def student_critical_cases():
    return [
        {"area": area, "df": df, "t": shown(student_critical(area, df))}
        for df in DEGREES
        for area in (AREAS if df in (1, 2, 100, 1e9) else [1e-12, 1e-3, 0.05, 0.5, 0.99])
    ]


# Tests and intervals


def one_sided(alternative, alpha, critical_value, bounds):
    """(low, high) of the interval that belongs to the alternative."""
    if alternative == "two-sided":
        return bounds(critical_value(alpha))
    low, high = bounds(critical_value(2 * exact(alpha)))
    return (low, mp.inf) if alternative == "greater" else (-mp.inf, high)


def p_value(statistic, alternative, two_sided):
    both = two_sided(statistic)
    if alternative == "two-sided":
        return both
    return both / 2 if (statistic > 0) == (alternative == "greater") else 1 - both / 2


def fieller(mean1, error1, mean2, error2, value):
    """Bounds of the lift relative to |mean1|, or None where the set of ratios is not a bounded interval.

    The ratios r with (mean2 - r mean1)^2 = value^2 (error2 + r^2 error1), found as roots of that quadratic."""
    a = mean1**2 - value**2 * error1
    if a <= 0:
        return None
    root = mp.sqrt((mean1 * mean2) ** 2 - a * (mean2**2 - value**2 * error2))
    low, high = (mean1 * mean2 - root) / a - 1, (mean1 * mean2 + root) / a - 1
    return (low, high) if mean1 > 0 else (-high, -low)


def lift_columns(mean1, error1, mean2, error2, alpha, alternative, critical_value):
    """lift, lift_low, lift_high, note"""
    if mean1 == 0:
        return None, None, None, "control_near_zero"
    lift = (mean2 - mean1) / abs(mean1)
    value = critical_value(alpha if alternative == "two-sided" else 2 * exact(alpha))
    bounds = fieller(mean1, error1, mean2, error2, value)
    if bounds is None:
        return lift, None, None, "control_near_zero"
    low, high = one_sided(alternative, alpha, critical_value, lambda _: bounds)
    return lift, low, high, None


def welch(n1, mean1, var1, n2, mean2, var2, alpha=0.05, alternative="two-sided"):
    m1, v1, m2, v2 = exact(mean1), exact(var1) / n1, exact(mean2), exact(var2) / n2
    diff, error = m2 - m1, mp.sqrt(v1 + v2)
    t = diff / error
    df = (v1 + v2) ** 2 / (v1**2 / (n1 - 1) + v2**2 / (n2 - 1))
    known = {}

    def value(area):
        if area not in known:
            known[area] = student_critical(area, df)
        return known[area]

    low, high = one_sided(alternative, alpha, value, lambda c: (diff - c * error, diff + c * error))
    lift, lift_low, lift_high, note = lift_columns(m1, v1, m2, v2, alpha, alternative, value)
    p = p_value(t, alternative, lambda t: student_two_sided(t, df))
    if p > 1e-12 and p < 1:
        theirs = stats.ttest_ind_from_stats(
            float(mean2), math.sqrt(var2), n2, float(mean1), math.sqrt(var1), n1, equal_var=False, alternative=alternative
        )
        agree(p, theirs.pvalue, 1e-7)
    return {
        "diff": diff, "standard_error": error, "statistic": t, "degrees_of_freedom": df, "p_value": p, "low": low,
        "high": high, "lift": lift, "lift_low": lift_low, "lift_high": lift_high, "note": note,
    }  # fmt: skip


def mean_interval(n, mean, variance, alpha=0.05):
    half = student_critical(alpha, n - 1) * mp.sqrt(exact(variance) / n)
    return {"low": exact(mean) - half, "high": exact(mean) + half}


def wilson(n, x, z):
    """Roots of (p - P)^2 = z^2 P (1 - P) / n."""
    p = mp.mpf(x) / n
    a, b, c = 1 + z * z / n, -(2 * p + z * z / n), p * p
    root = mp.sqrt(b * b - 4 * a * c)
    return (mp.mpf(0) if x == 0 else (-b - root) / (2 * a), mp.mpf(1) if x == n else (-b + root) / (2 * a))


def proportion_interval(n, x, alpha=0.05):
    low, high = wilson(n, x, normal_critical(alpha))
    theirs = proportion_confint(x, n, alpha=alpha, method="wilson")
    if x:
        agree(low, theirs[0], 1e-6)
    agree(high, theirs[1], 1e-6)
    return {"low": low, "high": high}


def proportion_test(n1, x1, n2, x2, alpha=0.05, alternative="two-sided"):
    p1, p2 = mp.mpf(x1) / n1, mp.mpf(x2) / n2
    diff = p2 - p1
    pooled = mp.mpf(x1 + x2) / (n1 + n2)
    error = mp.sqrt(pooled * (1 - pooled) * (mp.mpf(1) / n1 + mp.mpf(1) / n2))
    z = diff / error if error else None
    p = p_value(z, alternative, normal_two_sided) if error else mp.mpf(1)

    def newcombe(value):
        (low1, high1), (low2, high2) = wilson(n1, x1, value), wilson(n2, x2, value)
        return (
            diff - mp.sqrt((p2 - low2) ** 2 + (high1 - p1) ** 2),
            diff + mp.sqrt((high2 - p2) ** 2 + (p1 - low1) ** 2),
        )

    low, high = one_sided(alternative, alpha, normal_critical, newcombe)
    lift, lift_low, lift_high, note = lift_columns(
        p1, p1 * (1 - p1) / n1, p2, p2 * (1 - p2) / n2, alpha, alternative, normal_critical
    )
    if note is None and min(n1, n2) * min(pooled, 1 - pooled) < 5:
        note = "small_counts"
    if error:
        named = {"two-sided": "two-sided", "greater": "larger", "less": "smaller"}[alternative]
        agree(p, proportions_ztest([x2, x1], [n2, n1], alternative=named)[1], 1e-6)
    if alternative == "two-sided":
        theirs = confint_proportions_2indep(x2, n2, x1, n1, method="newcomb", compare="diff", alpha=alpha)
        # Statsmodels subtracts rounded rates.
        assert abs(theirs[0] - low) < 1e-9 * abs(high - low) and abs(theirs[1] - high) < 1e-9 * abs(high - low)
    return {
        "control_rate": p1, "treatment_rate": p2, "diff": diff, "statistic": z, "p_value": p, "low": low, "high": high,
        "lift": lift, "lift_low": lift_low, "lift_high": lift_high, "note": note,
    }  # fmt: skip


def cases_of(function, arguments):
    """Cases with their inputs by name and the expected figures, as doubles."""
    cases = []
    for values in arguments:
        values = {"alpha": 0.05, **values}
        cases.append({"given": values, "expected": {k: shown(v) for k, v in function(**values).items()}})
    return cases


def arms(n1, mean1, var1, n2, mean2, var2, **rest):
    return {"n1": n1, "mean1": mean1, "var1": var1, "n2": n2, "mean2": mean2, "var2": var2, **rest}


def welch_cases():
    rng = random.Random(4)
    # The first two are the gold values of statistics.md.
    rows = [arms(1000, 10.0, 25.0, 1100, 10.5, 30.0), arms(5, 1.0, 2.0, 4, 3.0, 5.0)]
    rows += [arms(5, 1.0, 2.0, 4, 3.0, 5.0, alternative=a) for a in ("greater", "less")]
    rows += [
        arms(2, 1.0, 1.0, 2, 2.0, 1e-6),  # df barely above 1
        arms(2, 5.0, 0.0, 3, 6.0, 0.25),  # one variance is 0
        arms(50, 5.0, 0.25, 60, 5.0, 0.0),  # no difference, the other is 0
        arms(1000, -10.0, 25.0, 1100, -9.0, 30.0),  # a negative control
        arms(1000, -10.0, 25.0, 1100, -9.0, 30.0, alternative="greater"),
        arms(100, 0.1, 4.0, 100, 0.5, 4.0),  # a control near zero
        arms(100, 0.0, 4.0, 100, 0.5, 4.0),  # a control of zero
        arms(100, 0.0, 4.0, 100, 0.0, 4.0),
        arms(10**9, 3.0, 40.0, 10**9, 3.0005, 41.0),
        arms(10**9, 3.0, 40.0, 2, 3.5, 41.0),  # arms as unequal as can be
        arms(10**9, 1.0, 1.0, 10**9, 1.00165, 1.0),  # p near 1e-300
        arms(400, 0.0011, 2.5e-7, 420, 0.00112, 2.4e-7),
        arms(300, 4e12, 9e24, 310, 4.1e12, 8e24),
        arms(1000, 2.0, 3e-9, 1000, 2.00003, 4e-9),  # p near 1e-30
        arms(1000, 10.0, 25.0, 1100, 10.5, 30.0, alpha=0.001),
        arms(1000, 10.0, 25.0, 1100, 10.5, 30.0, alpha=0.5, alternative="less"),
        arms(30, 10.0, 25.0, 30, 12.0, 30.0, alpha=0.9),
    ]
    for _ in range(25):
        scale = 10 ** rng.uniform(-6, 9)
        n1, n2 = (int(10 ** rng.uniform(0.4, 7)) for _ in range(2))
        var1, var2 = (scale**2 * 10 ** rng.uniform(-1, 1) for _ in range(2))
        mean1 = scale * rng.uniform(0.2, 5)
        mean2 = mean1 + rng.uniform(-6, 6) * math.sqrt(var1 / n1 + var2 / n2)
        alternative = rng.choice(["two-sided", "two-sided", "greater", "less"])
        rows.append(arms(n1, mean1, var1, n2, mean2, var2, alternative=alternative, alpha=rng.choice([0.01, 0.05, 0.1])))
    return cases_of(welch, [{"alternative": "two-sided", **row} for row in rows])


def mean_interval_cases():
    rng = random.Random(5)
    rows = [(2, 1.0, 1.0, 0.05), (2, 0.0, 3.5, 0.01), (3, -4.0, 1e-8, 0.05), (10**9, 7.0, 90.0, 0.05), (1000, 10.0, 25.0, 0.05)]
    for _ in range(20):
        rows.append((int(10 ** rng.uniform(0.4, 9)), rng.uniform(-5, 5), 10 ** rng.uniform(-4, 4), rng.choice([0.001, 0.05, 0.2])))
    return cases_of(mean_interval, [dict(zip(("n", "mean", "variance", "alpha"), row)) for row in rows])


def proportion_interval_cases():
    rng = random.Random(6)
    # The first three are the gold values of statistics.md.
    rows = [(10, 0, 0.05), (10, 10, 0.05), (1000, 100, 0.05), (1, 0, 0.05), (1, 1, 0.05), (2, 1, 0.05)]
    rows += [(10**9, 0, 0.05), (10**9, 1, 0.05), (10**9, 10**9 - 1, 0.05), (10**9, 10**9, 0.05), (10**9, 123456789, 1e-12)]
    for _ in range(20):
        n = int(10 ** rng.uniform(0.4, 9))
        rows.append((n, int(n * rng.random() ** rng.choice([1, 4])), rng.choice([0.001, 0.05, 0.2, 0.9])))
    return cases_of(proportion_interval, [dict(zip(("n", "x", "alpha"), row)) for row in rows])


def proportion_test_cases():
    rng = random.Random(7)
    two = "two-sided"
    # The first is the gold value of statistics.md.
    rows = [(1000, 100, 1000, 130, 0.05, a) for a in (two, "greater", "less")]
    rows += [
        (10, 0, 12, 0, 0.05, two),
        (10, 10, 12, 12, 0.05, two),
        (10, 0, 12, 12, 0.05, two),
        (1, 0, 1, 1, 0.05, two),
        (1000, 0, 1000, 20, 0.05, two),
        (1000, 20, 1000, 0, 0.05, two),
        (1000, 1000, 1000, 970, 0.05, two),
        (1000, 2, 1000, 4, 0.05, two),
        (500, 50, 1000, 100, 0.05, two),
        (10**9, 100000000, 10**9, 100020000, 0.05, two),
        (10**9, 100000000, 10**9, 100000001, 0.05, two),
        (10**9, 100000000, 10**9, 100495000, 0.05, two),  # p near 1e-300
        (10**9, 3, 10**9, 9, 0.05, two),
        (10**9, 5 * 10**8, 37, 19, 0.05, two),
        (2 * 10**6, 10**6, 2 * 10**6, 10**6 + 12345, 1e-9, two),
    ]
    for _ in range(20):
        n1, n2 = (int(10 ** rng.uniform(1, 8)) for _ in range(2))
        rate = rng.uniform(0.01, 0.9)
        spread = math.sqrt(rate * (1 - rate) * (1 / n1 + 1 / n2))
        x1 = int(n1 * rate)
        x2 = max(0, min(n2, int(n2 * (rate + rng.uniform(-5, 5) * spread))))
        rows.append((n1, x1, n2, x2, rng.choice([0.01, 0.05, 0.1]), rng.choice([two, "greater", "less"])))
    return cases_of(proportion_test, [dict(zip(("n1", "x1", "n2", "x2", "alpha", "alternative"), row)) for row in rows])


def fieller_cases():
    """Lift bounds at the normal critical value, from means and the variances of the means."""

    def lift(mean1, error1, mean2, error2, alpha):
        mean1, error1, mean2, error2 = map(exact, (mean1, error1, mean2, error2))
        columns = lift_columns(mean1, error1, mean2, error2, alpha, "two-sided", normal_critical)
        return dict(zip(("lift", "low", "high", "note"), columns))

    rng = random.Random(8)
    # The first two are the gold values of statistics.md; the third is the second with the signs turned.
    rows = [(10.0, 0.025, 10.5, 30 / 1100, 0.05), (1.0, 0.04, 1.5, 0.05, 0.05), (-1.0, 0.04, -1.5, 0.05, 0.05)]
    rows += [(1.0, 0.3, 2.0, 0.1, 0.05), (0.0, 1.0, 1.0, 1.0, 0.05), (3.0, 0.0, 4.0, 0.0, 0.05), (1.0, 0.26, 1.0, 0.3, 0.05)]
    for _ in range(20):
        mean1 = rng.choice([-1, 1, 1]) * 10 ** rng.uniform(-3, 3)
        mean2 = mean1 * rng.uniform(-1, 3)
        rows.append((mean1, (mean1 * rng.uniform(0, 0.4)) ** 2, mean2, (mean1 * rng.uniform(0, 0.4)) ** 2, 0.05))
    names = ("mean1", "error1", "mean2", "error2", "alpha")
    return cases_of(lift, [dict(zip(names, row)) for row in rows])


# The real experiment


def cookie_cats(path):
    """One case per metric and variant: sums are exact, figures by the methods of ab_results."""
    arms = {"gate_30": [], "gate_40": []}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            values = (row["retention_1"] == "TRUE", row["retention_7"] == "TRUE", int(row["sum_gamerounds"]))
            arms[row["version"]].append(values)
    cases = []
    for column, metric in enumerate(("retention_1", "retention_7", "sum_gamerounds")):
        figures = {}
        for variant, rows in arms.items():
            values = [int(row[column]) for row in rows]
            n, total = len(values), sum(values)
            conversions = sum(value != 0 for value in values)
            mean = Fraction(total, n)
            variance = (Fraction(sum(value * value for value in values)) - total * mean) / (n - 1)
            figures[variant] = n, conversions, total, mean, variance
            if metric.startswith("retention"):
                own = proportion_interval(n, conversions)
            else:
                own = mean_interval(n, mean, variance)
            case = {
                "metric": metric, "kind": "conversion" if metric.startswith("retention") else "sum", "variant": variant,
                "is_control": variant == "gate_30", "units": n, "conversions": conversions, "total": total,
                "mean": exact(mean), "variance": exact(variance), "ci_low": own["low"], "ci_high": own["high"],
            }  # fmt: skip
            compared = ("diff", "diff_low", "diff_high", "lift", "lift_low", "lift_high", "p_value")
            if variant == "gate_30":
                case |= dict.fromkeys(compared) | {"significant": None}
            else:
                n1, x1, _, mean1, var1 = figures["gate_30"]
                if metric.startswith("retention"):
                    test = proportion_test(n1, x1, n, conversions)
                else:
                    test = welch(n1, mean1, var1, n, mean, variance)
                test |= {"diff_low": test["low"], "diff_high": test["high"]}
                case |= {name: test[name] for name in compared} | {"significant": bool(test["p_value"] < 0.05)}
            plain = ("units", "conversions", "total", "is_control", "significant")
            cases.append({k: v if k in plain else shown(v) for k, v in case.items()})
    write("cookie_cats.json", cases, least=6)


if __name__ == "__main__":
    write("normal.json", normal_cases())
    write("normal_critical.json", normal_critical_cases())
    write("student.json", student_cases())
    write("student_critical.json", student_critical_cases())
    write("welch.json", welch_cases())
    write("mean_interval.json", mean_interval_cases())
    write("proportion_interval.json", proportion_interval_cases())
    write("proportion_test.json", proportion_test_cases())
    write("fieller.json", fieller_cases())
    if len(sys.argv) > 1:
        cookie_cats(sys.argv[1])
