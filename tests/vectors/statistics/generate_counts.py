"""Golden vectors for methods on counts and p-values: see generate.py, whose requirements and rules hold here.

    python generate_counts.py
"""

import random

from statsmodels.stats.multitest import multipletests

from generate import agree, exact, mp, shown, write


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


if __name__ == "__main__":
    write("multiplicity.json", multiplicity_cases())
