"""A ratio metric over invented users, and what NumPy and SciPy make of it: what tests/tests/metric.rs is held to.

    pip install numpy==2.4.6 scipy==1.17.1
    python generate.py

Writes ratio.json beside this script; the result is the same on every run. Each user has purchases (the values of the
numerator) and visits (the denominator), after first exposure and before it.

The mean of an arm is the ratio of its sums. Its variance and the p-value come from what the delta method makes of each
user: R + (y - R z) / mean(z), whose sample variance is the ratio's, and which Welch's test compares.
"""

import json
import random
from pathlib import Path

import numpy as np
from scipy import stats

HERE = Path(__file__).parent


def purchases(source, most, dearest):
    return [source.randint(1, dearest * 4) / 4 for _ in range(source.randint(0, most))]


def user(source, variant):
    is_regular = source.random() < 0.5
    visits = source.randint(0, 6)
    return {
        "variant": variant,
        "visits": visits,
        "purchases": purchases(source, min(visits, 3), 60 if variant == "green" else 50),
        "past_visits": source.randint(0, 4) if is_regular else 0,
        "past_purchases": purchases(source, 2, 40) if is_regular else [],
    }


def linear(y, z):
    ratio = y.sum() / z.sum()
    return ratio + (y - ratio * z) / z.mean()


def main():
    source = random.Random(20)
    users = [user(source, variant) for variant, size in (("control", 90), ("green", 110)) for _ in range(size)]
    arms = {}
    for variant in ("control", "green"):
        of_arm = [u for u in users if u["variant"] == variant]
        y, z = (np.array([get(u) for u in of_arm]) for get in (lambda u: sum(u["purchases"]), lambda u: u["visits"]))
        u, w = (np.array([get(u) for u in of_arm]) for get in (lambda u: sum(u["past_purchases"]), lambda u: u["past_visits"]))
        arms[variant] = {"linear": linear(y, z), "columns": {"y": y, "z": z, "u": u, "w": w}}
    expected = {}
    for variant, arm in arms.items():
        columns = arm["columns"]
        sums = {name: float(column.sum()) for name, column in columns.items()}
        sums |= {a + b: float((columns[a] * columns[b]).sum()) for a, b in ("yy", "zz", "uu", "ww", "yz", "yu", "yw", "zu", "zw", "uw")}
        mean = sums["y"] / sums["z"]
        assert abs(arm["linear"].mean() - mean) < 1e-12
        expected[variant] = {"sums": sums, "mean": mean, "variance": float(arm["linear"].var(ddof=1))}
    test = stats.ttest_ind(arms["green"]["linear"], arms["control"]["linear"], equal_var=False)
    expected["green"] |= {"p_value": float(test.pvalue), "diff_low": float(test.confidence_interval().low), "diff_high": float(test.confidence_interval().high)}
    rows = ",\n".join(json.dumps(u) for u in users)
    (HERE / "ratio.json").write_text(f'{{"expected": {json.dumps(expected, indent=1)},\n"users": [\n{rows}\n]}}\n')


if __name__ == "__main__":
    main()
