"""Golden vectors from two other libraries of experiment statistics, tea-tasting and gbstats (the engine of GrowthBook), on
the same rows as this one: see generate.py, whose requirements and rules hold here.

    pip install tea-tasting==1.14.0 gbstats==0.8.0 && pip install numpy==2.4.6 pandas==3.1.1
    python generate_comparisons.py [path to cookie_cats.csv]

Rows are drawn from seeded generators and given to both libraries; the files hold their sufficient statistics, which are
what the engine takes, and rows only where ranks need them. Each case says what `agrees`, column by column, and what
`differs`: the library's figure, the reason, and ours where no other function of the engine gives it. The reasons are told in
docs/statistics.md. With the path, comparisons_cookie_cats.json is written too: aggregates of that data set. (gbstats asks for older NumPy and
pandas than tea-tasting runs with, but its tests do not need them.)
"""

import csv
import math
import sys
import warnings
from fractions import Fraction

import numpy as np
import pyarrow as pa
import tea_tasting as tt
from gbstats.bayesian.tests import EffectBayesianABTest, EffectBayesianConfig, GaussianPrior
from gbstats.frequentist.tests import FrequentistConfig, SequentialConfig, SequentialTwoSidedTTest, TwoSidedTTest
from gbstats.models.statistics import (
    ProportionStatistic,
    RatioStatistic,
    RegressionAdjustedStatistic,
    SampleMeanStatistic,
    compute_theta,
)
from gbstats.utils import check_srm
from tea_tasting.experiment import ExperimentResult

from generate import exact, mp, normal_critical, shown, student_critical, write
from generate_sequential import tuning

TEA, GB = "tea-tasting", "gbstats"

# Beyond this p gbstats' 1 - cdf has lost the digits that are compared.
SMALLEST_BY_CDF = 1e-5


def case(method, library, given, agrees, **differs):
    """`differs` gives reasons with the columns that differ for them."""
    plain = lambda columns: {name: shown(value) for name, value in columns.items()}
    return {
        "method": method, "library": library, "given": given, "agrees": plain(agrees),
        "differs": {reason: plain(columns) for reason, columns in differs.items()},
    }  # fmt: skip


# Rows


def values(rng, n, kind, lift):
    """One number per user: the kinds that metrics come in."""
    if kind == "normal":
        return rng.normal(10 * (1 + lift), 4, n)
    if kind == "lognormal":
        return np.exp(rng.normal(math.log1p(lift), 1, n))
    if kind == "count":
        return rng.poisson(3 * (1 + lift), n).astype(float)
    return np.where(rng.random(n) < 0.2 * (1 + lift), np.exp(rng.normal(2, 1, n)), 0.0)


KINDS = ("normal", "lognormal", "count", "rare")


def samples(seed, count=24):
    """Pairs of arms as arrays: value, covariate, denominator and its covariate, from tens to tens of thousands of users."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        kind, lift = KINDS[index % 4], rng.uniform(-0.05, 0.1)
        arms = []
        for arm in range(2):
            n = int(10 ** rng.uniform(1.8, 4.3))
            before = values(rng, n, kind, 0.0)
            after = 0.6 * before + values(rng, n, kind, lift * arm)
            sessions_before = 1.0 + rng.poisson(2, n)
            sessions = 1.0 + rng.poisson(1 + 0.5 * sessions_before)
            arms.append((after * sessions, before * sessions_before, sessions, sessions_before) if kind == "normal"
                        else (after, before, sessions, sessions_before))
        yield arms


def moments(*columns):
    """n, means and the matrix of covariances by exact arithmetic on the rows."""
    n = len(columns[0])
    rows = [[Fraction(float(value)) for value in column] for column in columns]
    means = [sum(row) / n for row in rows]
    centred = [[float(value - mean) for value in row] for row, mean in zip(rows, means)]
    covariance = [[math.fsum(a * b for a, b in zip(x, y)) / (n - 1) for y in centred] for x in centred]
    return n, [float(mean) for mean in means], covariance


def table(arms, names):
    columns = {name: np.concatenate([arm[index] for arm in arms]) for index, name in enumerate(names)}
    return pa.table({"variant": np.repeat([0, 1], [len(arm[0]) for arm in arms]), **columns})


def tea(metric, arms, names):
    return tt.Experiment(metric=metric).analyze(table(arms, names))["metric"]


def sums(column):
    return SampleMeanStatistic(n=len(column), sum=math.fsum(column), sum_squares=math.fsum(value * value for value in column))


def products(x, y):
    return math.fsum(a * b for a, b in zip(x, y))


def sample(arm):
    n, (mean, *_), covariance = moments(arm[0])
    return [n, mean, covariance[0][0]]


def tea_columns(found):
    return {
        "diff": found.effect_size, "low": found.effect_size_ci_lower, "high": found.effect_size_ci_upper,
        "statistic": found.statistic, "p_value": found.pvalue, "lift": found.rel_effect_size,
    }  # fmt: skip


def log_bounds(found):
    return {"lift_low": found.rel_effect_size_ci_lower, "lift_high": found.rel_effect_size_ci_upper}


def gb_test(pair, test=TwoSidedTTest, config=FrequentistConfig, **settings):
    made = test(*pair, config(**settings))
    return made, made.compute_result()


def gb_columns(made, found):
    columns = {
        "diff": found.expected, "low": found.ci[0], "high": found.ci[1], "standard_error": found.uplift.stddev,
        "degrees_of_freedom": made.dof, "statistic": made.critical_value,
    }  # fmt: skip
    return columns | ({"p_value": found.p_value} if found.p_value > SMALLEST_BY_CDF else {})


def gb_lift(pair):
    """The lift, whose interval and p-value gbstats finds by the delta method with a t critical value."""
    _, found = gb_test(pair, difference_type="relative")
    return {"lift": found.expected}, {"lift_low": found.ci[0], "lift_high": found.ci[1]}


# Methods


def welch_cases():
    cases = []
    for arms in samples(501):
        given = {"control": sample(arms[0]), "treatment": sample(arms[1])}
        found = tea(tt.Mean("y"), [arm[:1] for arm in arms], ["y"])
        normal = tea(tt.Mean("y", use_t=False), [arm[:1] for arm in arms], ["y"])
        cases.append(case("welch", TEA, given, tea_columns(found)))
        cases.append(case("lift_log", TEA, given, log_bounds(normal), t_for_z=log_bounds(found)))
        pair = [sums(arm[0]) for arm in arms]
        lift, delta = gb_lift(pair)
        agrees = gb_columns(*gb_test(pair, difference_type="absolute"))
        cases.append(case("welch", GB, given, agrees | lift, delta_lift=delta))
        cases.append(case("lift_delta", GB, given, lift, t_for_z=delta))
    # Where 1 - cdf has no digits left.
    for gap in (0.6, 0.9, 1.3):
        rng = np.random.default_rng(int(10 * gap))
        arms = [rng.normal(10 + gap * arm, 1, 500) for arm in range(2)]
        given = {"control": sample([arms[0]]), "treatment": sample([arms[1]])}
        made, found = gb_test([sums(arm) for arm in arms], difference_type="absolute")
        cases.append(case("welch", GB, given, gb_columns(made, found), one_minus_cdf={"p_value": found.p_value}))
        cases.append(case("welch", TEA, given, tea_columns(tea(tt.Mean("y"), [[arm] for arm in arms], ["y"]))))
    return cases


def proportion_pairs(seed, count=24):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        rate = 10 ** rng.uniform(-1.7, -0.2)
        sizes = [int(10 ** rng.uniform(2.2, 5.5)) for _ in range(2)]
        yield [(rng.random(n) < rate * lift).astype(float) for n, lift in zip(sizes, (1.0, rng.uniform(0.9, 1.1)))]


def proportion_cases():
    cases = []
    for arms in proportion_pairs(502):
        counts = [(len(arm), int(arm.sum())) for arm in arms]
        given = {"n1": counts[0][0], "x1": counts[0][1], "n2": counts[1][0], "x2": counts[1][1]}
        run = lambda **settings: tea(tt.Proportion("y", **settings), [[arm.astype(int)] for arm in arms], ["y"])
        pooled, corrected = (run(method="norm", correction=correction) for correction in (False, True))
        unpooled = run(method="norm", correction=False, equal_var=False)
        agrees = {
            "control_rate": pooled.control, "treatment_rate": pooled.treatment, "diff": pooled.effect_size,
            "lift": pooled.rel_effect_size, "p_value": pooled.pvalue,
        }  # fmt: skip
        bounds = lambda found: {"low": found.effect_size_ci_lower, "high": found.effect_size_ci_upper}
        cases.append(case("proportion", TEA, given, agrees, continuity_correction={"p_value": corrected.pvalue}, not_newcombe=bounds(unpooled)))
        cases.append(case("proportion_wald", TEA, given, bounds(unpooled), pooled_interval=bounds(pooled)))
        cases.append(case("chi_square", TEA, given, {"p_value": run(method="pearson", correction=False).pvalue}))
        cases.append(case("chi_square_yates", TEA, given, {"p_value": run(method="pearson", correction=True).pvalue}))
        cases.append(case("fisher", TEA, given, {"p_value": run(method="fisher").pvalue}))
        # gbstats has no test of proportions: it is Welch's, with variances p(1 - p).
        pair = [ProportionStatistic(n=n, sum=x) for n, x in counts]
        made, found = gb_test(pair, difference_type="absolute")
        cases.append(case("proportion_as_mean", GB, given, gb_columns(made, found)))
        lift, delta = gb_lift(pair)
        cases.append(case("proportion", GB, given, lift, not_pooled={"p_value": found.p_value}, delta_lift=delta))
    return cases


def ratio_cases():
    cases = []
    for arms in samples(503):
        given = {}
        for name, arm in zip(("control", "treatment"), arms):
            n, means, covariance = moments(arm[0], arm[2])
            given[name] = [n, means[0], covariance[0][0], means[1], covariance[1][1], covariance[0][1]]
        columns = [[arm[0], arm[2]] for arm in arms]
        found = tea(tt.RatioOfMeans("y", "z"), columns, ["y", "z"])
        ratios = {"control_ratio": found.control, "treatment_ratio": found.treatment}
        cases.append(case("ratio", TEA, given, tea_columns(found) | ratios, log_lift=log_bounds(found)))
        pair = [RatioStatistic(n=len(y), m_statistic=sums(y), d_statistic=sums(z), m_d_sum_of_products=products(y, z)) for y, z in columns]
        lift, delta = gb_lift(pair)
        cases.append(case("ratio", GB, given, gb_columns(*gb_test(pair, difference_type="absolute")) | lift, delta_lift=delta))
    return cases


def pooled_theta(given):
    """Within the arms, where both libraries take the covariance about the mean of all users."""
    arms = [[exact(figure) for figure in given[name]] for name in ("control", "treatment")]
    return mp.fsum((arm[0] - 1) * arm[5] for arm in arms) / mp.fsum((arm[0] - 1) * arm[4] for arm in arms)


def cuped_cases():
    cases = []
    for arms in samples(504):
        given = {}
        for name, arm in zip(("control", "treatment"), arms):
            n, means, covariance = moments(arm[0], arm[1])
            given[name] = [n, means[0], covariance[0][0], means[1], covariance[1][1], covariance[0][1]]
        pair = [
            RegressionAdjustedStatistic(
                n=len(arm[0]), post_statistic=sums(arm[0]), pre_statistic=sums(arm[1]),
                post_pre_sum_of_products=products(arm[0], arm[1]), theta=0.0,
            )
            for arm in arms
        ]  # fmt: skip
        theta = float(compute_theta(*pair))
        for statistic in pair:
            statistic.theta = theta
        found = tea(tt.Mean("y", "x"), [arm[:2] for arm in arms], ["y", "x"])
        columns = tea_columns(found)
        with_theirs = given | {"theta": theta}
        adjusted = {"adjusted_control_mean": found.control, "adjusted_treatment_mean": found.treatment}
        lift = {"lift": columns.pop("lift")}
        cases.append(case("cuped", TEA, with_theirs, columns | adjusted, adjusted_base=lift, log_lift=log_bounds(found)))
        lift, delta = gb_lift(pair)
        columns = gb_columns(*gb_test(pair, difference_type="absolute"))
        cases.append(case("cuped", GB, with_theirs, columns | lift, delta_lift=delta))
        ours = {"theta": pooled_theta(given)}
        cases.append(case("cuped_theta", GB, given, ours, theta_about_the_common_mean={"theta": theta}))
    return cases


def cuped_ratio_cases():
    cases = []
    for arms in samples(505):
        given = {}
        for name, arm in zip(("control", "treatment"), arms):
            # Y, Z and before the experiment U, W.
            n, means, covariance = moments(arm[0], arm[2], arm[1], arm[3])
            given[name] = {"n": n, "means": means, "covariances": covariance}
        metric = tt.RatioOfMeans("y", "z", "u", "w")
        columns = [[arm[0], arm[2], arm[1], arm[3]] for arm in arms]
        aggregates = tt.aggr.read_aggregates(table(columns, ["y", "z", "u", "w"]), "variant", **metric.aggr_cols._asdict())
        given["theta"] = float(metric._covariate_coef(aggregates[0] + aggregates[1]))
        found = tea(metric, columns, ["y", "z", "u", "w"])
        agrees = tea_columns(found)
        lift = {"lift": agrees.pop("lift")}
        cases.append(case("cuped_ratio", TEA, given, agrees, adjusted_base=lift, log_lift=log_bounds(found)))
    return cases


def sample_ratio_cases():
    rng, cases = np.random.default_rng(506), []
    for index in range(24):
        weights = [1.0, 1.0] if index % 3 else [float(weight) for weight in rng.integers(1, 10, 2)]
        n = int(10 ** rng.uniform(2, 7))
        share = weights[1] / sum(weights) * (1 + rng.choice([0, 0, 0.01]))
        treated = int(rng.binomial(n, share))
        observed = [n - treated, treated]
        given = {"observed": observed, "weights": weights}
        data = {0: tt.aggr.Aggregates(count_=observed[0]), 1: tt.aggr.Aggregates(count_=observed[1])}
        run = lambda **settings: tt.SampleRatio(weights[1] / weights[0], **settings).analyze(data, 0, 1).pvalue
        differs = {"continuity_correction": {"p_value": run(method="norm", correction=True)}}
        if n < 1000:
            differs["exact_binomial"] = {"p_value": run()}
        cases.append(case("sample_ratio", TEA, given, {"p_value": run(method="norm", correction=False)}, **differs))
        cases.append(case("sample_ratio", GB, given, {"p_value": check_srm(observed, weights)}))
    for index in range(22):
        weights = [float(weight) for weight in rng.integers(1, 10, 3 + index % 4)]
        observed = [int(count) for count in rng.multinomial(int(10 ** rng.uniform(2, 7)), np.array(weights) / sum(weights))]
        given = {"observed": observed, "weights": weights}
        cases.append(case("sample_ratio", GB, given, {"p_value": check_srm(observed, weights)}))
        # An arm that has no weight and no users counts for a degree of freedom there.
        given = {"observed": [*observed, 0], "weights": [*weights, 0.0]}
        cases.append(case("sample_ratio", GB, given, {}, zero_weight_counted={"p_value": check_srm(given["observed"], given["weights"])}))
    return cases


def multiplicity_cases():
    rng, cases = np.random.default_rng(507), []
    for index in range(20):
        p_values = [float(10 ** -rng.uniform(0, 5)) for _ in range(2 + index)]
        named = ExperimentResult({f"m{place}": {"pvalue": p} for place, p in enumerate(p_values)})
        adjusted = lambda found: {str(place): shown(row["pvalue_adj"]) for place, row in enumerate(found["-"].values())}
        runs = [
            ("holm", tt.adjust_fwer(named, arbitrary_dependence=True, method="bonferroni")),
            ("hochberg", tt.adjust_fwer(named, arbitrary_dependence=False, method="bonferroni")),
            ("bh", tt.adjust_fdr(named, arbitrary_dependence=False)),
            ("by", tt.adjust_fdr(named, arbitrary_dependence=True)),
        ]
        sidak = adjusted(tt.adjust_fwer(named, arbitrary_dependence=True))
        for correction, found in runs:
            differs = {"sidak": sidak} if correction == "holm" else {}
            cases.append(case("multiplicity", TEA, {"p": p_values, "correction": correction}, adjusted(found), **differs))
    return cases


def power_cases():
    rng, cases = np.random.default_rng(508), []
    for index in range(24):
        rows = values(rng, 2000, KINDS[index % 4], 0.0)
        _, mean, variance = sample([rows])
        ratio = float([1, 1, 2, 4][index % 4])
        data = tt.aggr.Aggregates(count_=2000, mean_={"y": mean}, var_={"y": variance}, cov_={})
        n2 = int(10 ** rng.uniform(2.5, 6))
        n1, n2 = n2, int(n2 * ratio)
        effect = float(rng.uniform(0.5, 4) * math.sqrt(variance / n1 + variance / n2))
        alpha, power = [0.05, 0.01][index % 2], [0.8, 0.9][index % 3 == 0]
        solve = lambda what, use_t, **known: getattr(
            tt.Mean("y", use_t=use_t, ratio=ratio, alpha=alpha, power=power, **known).solve_power_from_aggregates(data, what)[0], what
        )
        given = {"n1": n1, "n2": n2, "sd": math.sqrt(variance), "baseline": mean, "alpha": alpha, "power": power, "ratio": ratio, "effect": effect}
        known = {"effect_size": effect, "n_obs": n1 + n2}
        cases.append(case("power", TEA, given, {"power": solve("power", False, **known)}, noncentral_t={"power": solve("power", True, **known)}))
        # Solved by iteration and with the tail on the wrong side, so only near.
        near = {"mde_abs": solve("effect_size", False, n_obs=n1 + n2), "n_total": solve("n_obs", False, effect_size=effect)}
        cases.append(case("power_solved", TEA, given, {}, near=near))
    return cases


def rank_sum_cases():
    rng, cases = np.random.default_rng(509), []
    for index in range(20):
        # Integers have ties, and ties keep SciPy from its exact distribution.
        arms = [rng.poisson(mean, int(rng.integers(6, 40))).astype(float) for mean in (4, 4 + index % 3)]
        arms[0][0] = arms[1][0] = arms[1][1]
        found = tea(tt.MannWhitneyU("y", method="asymptotic"), [[arm] for arm in arms], ["y"])
        given = {"control": arms[0].tolist(), "treatment": arms[1].tolist()}
        cases.append(case("rank_sum", TEA, given, {"p_value": found.pvalue, "prob_superiority": found.treatment}))
    return cases


def sequential_cases():
    cases = []
    for arms in samples(510):
        pair = [sums(arm[0]) for arm in arms]
        made, found = gb_test(pair, SequentialTwoSidedTTest, SequentialConfig, difference_type="absolute")
        n = len(arms[0][0]) + len(arms[1][0])
        # Theirs is tuned by an approximation, so that it is ours at another size.
        approximate = -2 * mp.log(mp.mpf("0.05")) + mp.log1p(-2 * mp.log(mp.mpf("0.05")))
        tuning_n = float(5000 * tuning(mp.mpf("0.05")) / approximate)
        given = {"diff": found.expected, "se": float(made.variance) ** 0.5, "n": n, "tuning_n": tuning_n, "their_tuning_n": 5000}
        columns = {"low": found.ci[0], "high": found.ci[1]}
        agrees = columns | ({"p_value": found.p_value} if found.p_value > 1e-250 else {})
        cases.append(case("sequential", GB, given, agrees))
    return cases


def bayes_columns(found):
    return {
        "mean": found.expected, "sd": found.uplift.stddev, "low": found.ci[0], "high": found.ci[1],
        "probability_better": found.chance_to_win, "control_loss": found.risk[0], "treatment_loss": found.risk[1],
    }  # fmt: skip


def bayes_of(pair, prior, relative):
    config = EffectBayesianConfig(
        difference_type="relative" if relative else "absolute",
        prior_effect=GaussianPrior(mean=prior[0], variance=(prior[1] or 1.0) ** 2, proper=prior[1] is not None),
    )
    made = EffectBayesianABTest(*pair, config)
    _, known = gb_test(pair, difference_type="relative" if relative else "absolute")
    scale = 1.0 if relative else abs(pair[0].unadjusted_mean)
    given = {
        "diff": known.expected, "se": known.uplift.stddev,
        "prior_mean": prior[0] * scale, "prior_sd": None if prior[1] is None else prior[1] * scale,
    }  # fmt: skip
    return given, made.compute_result()


def bayes_cases():
    cases = []
    for index, arms in enumerate(samples(511)):
        pair = [sums(arm[0]) for arm in arms]
        for prior in ((0.0, None), (0.0, 0.3), (0.02, 0.05)):
            given, found = bayes_of(pair, prior, relative=index % 2 == 1)
            columns = bayes_columns(found)
            # Its losses come from truncated normal means, which cancel far from 0.
            if abs(found.expected / found.uplift.stddev) > 3:
                del columns["control_loss"], columns["treatment_loss"]
            cases.append(case("bayes", GB, given, columns))
    return cases


# The real experiment


def cookie_cats(path):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    arms = [[row for row in rows if row["version"] == version] for version in ("gate_30", "gate_40")]
    cases = []
    for metric in ("retention_1", "retention_7"):
        columns = [np.array([row[metric].lower() == "true" for row in arm], dtype=int) for arm in arms]
        given = {"n1": len(columns[0]), "x1": int(columns[0].sum()), "n2": len(columns[1]), "x2": int(columns[1].sum()), "metric": metric}
        run = lambda **settings: tea(tt.Proportion("y", **settings), [[column] for column in columns], ["y"])
        pooled = run(method="norm", correction=False)
        unpooled = run(method="norm", correction=False, equal_var=False)
        agrees = {
            "control_rate": pooled.control, "treatment_rate": pooled.treatment, "diff": pooled.effect_size,
            "lift": pooled.rel_effect_size, "p_value": pooled.pvalue,
        }  # fmt: skip
        bounds = {"low": unpooled.effect_size_ci_lower, "high": unpooled.effect_size_ci_upper}
        cases.append(case("proportion", TEA, given, agrees, continuity_correction={"p_value": run(method="norm").pvalue}, not_newcombe=bounds))
        cases.append(case("proportion_wald", TEA, given, bounds))
        cases.append(case("chi_square", TEA, given, {"p_value": run(method="pearson", correction=False).pvalue}))
        cases.append(case("chi_square_yates", TEA, given, {"p_value": run(method="pearson", correction=True).pvalue}))
        cases.append(case("fisher", TEA, given, {"p_value": run(method="fisher").pvalue}))
        pair = [ProportionStatistic(n=len(column), sum=int(column.sum())) for column in columns]
        made, found = gb_test(pair, difference_type="absolute")
        cases.append(case("proportion_as_mean", GB, given, gb_columns(made, found)))
        lift, delta = gb_lift(pair)
        cases.append(case("proportion", GB, given, lift, not_pooled={"p_value": found.p_value}, delta_lift=delta))
        for prior in ((0.0, None), (0.0, 0.3)):
            known, posterior = bayes_of(pair, prior, relative=False)
            cases.append(case("bayes", GB, known | {"metric": metric}, bayes_columns(posterior)))
    rounds = [np.array([float(row["sum_gamerounds"]) for row in arm]) for arm in arms]
    cap = float(np.sort(np.concatenate(rounds))[math.ceil(0.999 * len(rows)) - 1])
    for metric, columns in (("sum_gamerounds", rounds), ("sum_gamerounds capped", [np.minimum(arm, cap) for arm in rounds])):
        given = {"control": sample([columns[0]]), "treatment": sample([columns[1]]), "metric": metric}
        if "capped" in metric:
            given["cap"] = cap
        found = tea(tt.Mean("y"), [[column] for column in columns], ["y"])
        normal = tea(tt.Mean("y", use_t=False), [[column] for column in columns], ["y"])
        cases.append(case("welch", TEA, given, tea_columns(found), log_lift=log_bounds(found)))
        cases.append(case("lift_log", TEA, given, log_bounds(normal), t_for_z=log_bounds(found)))
        pair = [sums(column) for column in columns]
        lift, delta = gb_lift(pair)
        cases.append(case("welch", GB, given, gb_columns(*gb_test(pair, difference_type="absolute")) | lift, delta_lift=delta))
        cases.append(case("lift_delta", GB, given, lift, t_for_z=delta))
        for prior in ((0.0, None), (0.0, 0.3)):
            known, posterior = bayes_of(pair, prior, relative=False)
            cases.append(case("bayes", GB, known | {"metric": metric}, bayes_columns(posterior)))
    observed = [len(arm) for arm in arms]
    given = {"observed": observed, "weights": [1.0, 1.0]}
    data = {place: tt.aggr.Aggregates(count_=count) for place, count in enumerate(observed)}
    run = lambda **settings: tt.SampleRatio(1, **settings).analyze(data, 0, 1).pvalue
    cases.append(case("sample_ratio", TEA, given, {"p_value": run(method="norm", correction=False)}, continuity_correction={"p_value": run()}))
    cases.append(case("sample_ratio", GB, given, {"p_value": check_srm(observed, [1.0, 1.0])}))
    found = tea(tt.MannWhitneyU("y"), [[column] for column in rounds], ["y"])
    # 90,189 ranks are not in the file: the test of the database holds the engine to these on the rows.
    cases.append(case("rank_sum_of_rows", TEA, {"metric": "sum_gamerounds"}, {"p_value": found.pvalue, "prob_superiority": found.treatment}))
    for q in (0.5, 0.9, 0.99):
        estimates = [float(np.quantile(column, q)) for column in rounds]
        cases.append(case("quantile_of_rows", "numpy", {"metric": "sum_gamerounds", "q": q}, {"control": estimates[0], "treatment": estimates[1]}))
    return cases


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    groups = (
        welch_cases, proportion_cases, ratio_cases, cuped_cases, cuped_ratio_cases, sample_ratio_cases, multiplicity_cases, power_cases,
        rank_sum_cases, sequential_cases, bayes_cases,
    )  # fmt: skip
    write("comparisons.json", [found for group in groups for found in group()], least=200)
    if len(sys.argv) > 1:
        write("comparisons_cookie_cats.json", cookie_cats(sys.argv[1]))
