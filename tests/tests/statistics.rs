//! The statistics as SQL answers them, against the vectors of SciPy, statsmodels and mpmath.

use ab_tests::{Database, sql_error};
use postgres::Client;
use serde_json::Value;

/// A function, the vectors it is held to, and how the names of the two go together.
struct Proof {
    function: &'static str,
    vectors: &'static str,
    /// Arguments from what is given: `given argument`, or `given argument,argument,…` for an array with a value for each,
    /// or of such arrays, which SQL takes column by column. `-` leaves a value out, `+` adds an argument that the vectors do
    /// not have; without a word here the names agree.
    arguments: &'static [&'static str],
    /// Columns and what they are called in the vectors; the note, where there is one, goes without saying.
    columns: &'static [(&'static str, &'static str)],
    /// Which cases the function has the arguments for.
    applies: fn(&Value) -> bool,
}

/// As an argument of SQL; JSON has no infinity and writes it as a text.
fn literal(value: &Value) -> String {
    match value {
        Value::Array(elements) => {
            let elements: Vec<String> = elements.iter().map(Value::to_string).collect();
            format!("'{{{}}}'", elements.join(","))
        }
        Value::String(text) => format!("'{text}'"),
        value => value.to_string(),
    }
}

fn arguments(given: &Value, names: &[&str]) -> Vec<String> {
    let mut arguments = Vec::new();
    for (name, value) in given.as_object().expect("arguments") {
        if let Value::Object(_) = value {
            arguments.extend(self::arguments(value, names));
            continue;
        }
        let renamed = names.iter().find_map(|rule| rule.strip_prefix(name.as_str())?.strip_prefix(' '));
        let columns: Vec<&str> = renamed.unwrap_or(name).split(',').collect();
        let values: Vec<Value> = match value.as_array() {
            Some(rows) if columns.len() > 1 && rows[0].is_array() => (0..columns.len())
                .map(|column| rows.iter().map(|row| row[column].clone()).collect())
                .collect(),
            Some(values) if columns.len() > 1 => values.clone(),
            _ => vec![value.clone()],
        };
        let known = columns.iter().zip(&values).filter(|(column, _)| **column != "-");
        arguments.extend(known.map(|(column, value)| format!("{column} => {}", literal(value))));
    }
    arguments
}

fn compare(client: &mut Client, proof: &Proof) {
    let cases: Vec<Value> = serde_json::from_str(proof.vectors).expect("valid JSON");
    let cases: Vec<&Value> = cases.iter().filter(|case| (proof.applies)(&case["given"])).collect();
    assert!(cases.len() >= 5, "{} has {} cases", proof.function, cases.len());
    for case in cases {
        let mut arguments = arguments(&case["given"], proof.arguments);
        arguments
            .extend(proof.arguments.iter().filter_map(|rule| rule.strip_prefix("+ ")).map(str::to_owned));
        let query =
            format!("select to_jsonb(r) from (select * from {}({})) r", proof.function, arguments.join(", "));
        let found: Value =
            client.query_one(&query, &[]).unwrap_or_else(|error| panic!("{query}: {error:?}")).get(0);
        for (column, expected) in proof.columns.iter().chain(&[("note", "note")]) {
            let Some(expected) = case["expected"].get(expected) else {
                assert_eq!(*column, "note", "nothing to hold {column} of {} to", proof.function);
                continue;
            };
            let found = found.get(column).unwrap_or_else(|| panic!("no column {column}: {query}"));
            assert_close(found, expected, &format!("{column} of {query}"));
        }
    }
}

fn assert_close(found: &Value, expected: &Value, what: &str) {
    match (expected, found) {
        (Value::Array(expected), Value::Array(found)) => {
            assert_eq!(found.len(), expected.len(), "{what}");
            found.iter().zip(expected).for_each(|(found, expected)| assert_close(found, expected, what));
        }
        (Value::Number(expected), Value::Number(found)) => {
            let [expected, found] = [expected, found].map(|number| number.as_f64().expect("a double"));
            assert!((found - expected).abs() <= 1e-9 * expected.abs(), "{what}: {found} is not {expected}");
        }
        // The vectors write infinities as "inf" and "-inf", to_jsonb as PostgreSQL does.
        _ => {
            let expected = match expected.as_str() {
                Some("inf") => &Value::from("Infinity"),
                Some("-inf") => &Value::from("-Infinity"),
                _ => expected,
            };
            assert_eq!(found, expected, "{what}");
        }
    }
}

const WELCH: &[(&str, &str)] = &[
    ("diff", "diff"),
    ("se", "standard_error"),
    ("statistic", "statistic"),
    ("df", "degrees_of_freedom"),
    ("p_value", "p_value"),
    ("ci_low", "low"),
    ("ci_high", "high"),
    ("lift", "lift"),
    ("lift_low", "lift_low"),
    ("lift_high", "lift_high"),
];
const INTERVAL: &[(&str, &str)] = &[("ci_low", "low"), ("ci_high", "high")];
const SAMPLE_SIZE: &[(&str, &str)] = &[
    ("n_control", "n_control"),
    ("n_treatment", "n_treatment"),
    ("n_total", "n_total"),
    ("mde_abs", "mde_abs"),
    ("alpha_used", "alpha_used"),
];

fn all(_: &Value) -> bool {
    true
}

fn is_two_sided(given: &Value) -> bool {
    given["alternative"] == "two-sided"
}

fn has_one_phase(given: &Value) -> bool {
    given["cells"].as_array().expect("cells").iter().all(|cell| cell[0] == given["cells"][0][0])
}

/// Not sequential and two-sided, as the functions plan it.
fn is_plain(given: &Value) -> bool {
    given["design"]["inflation"] == 1.0 && given["design"]["one_sided"] == false
}

fn has_no_covariate(given: &Value) -> bool {
    ["control", "treatment"]
        .iter()
        .all(|arm| given[arm].as_array().expect("strata").iter().all(|stratum| stratum[4] == 0.0))
}

macro_rules! proof {
    ($function:literal, $vectors:literal, $arguments:expr, $columns:expr, $applies:expr) => {
        Proof {
            function: $function,
            vectors: include_str!(concat!("../vectors/statistics/", $vectors)),
            arguments: &$arguments,
            columns: &$columns,
            applies: $applies,
        }
    };
}

const PROOFS: &[Proof] = &[
    proof!("ab_ttest", "welch.json", [], *WELCH, all),
    proof!(
        "ab_ztest",
        "proportion_test.json",
        [],
        [
            ("p1", "control_rate"),
            ("p2", "treatment_rate"),
            ("diff", "diff"),
            ("statistic", "statistic"),
            ("p_value", "p_value"),
            ("ci_low", "low"),
            ("ci_high", "high"),
            ("lift", "lift"),
            ("lift_low", "lift_low"),
            ("lift_high", "lift_high"),
        ],
        all
    ),
    proof!("ab_ztest", "wald.json", ["+ ci_method => 'wald'"], *INTERVAL, all),
    proof!("ab_mean_ci", "mean_interval.json", ["variance var"], *INTERVAL, all),
    proof!("ab_proportion_ci", "proportion_interval.json", [], *INTERVAL, all),
    proof!("ab_proportion_ci", "proportion_method.json", [], *INTERVAL, all),
    proof!(
        "ab_lift_ci",
        "lift_interval.json",
        [],
        [("lift", "lift"), ("lift_low", "low"), ("lift_high", "high"), ("g", "g")],
        all
    ),
    proof!(
        "ab_ratio_test",
        "ratio.json",
        ["control n1,my1,vy1,mz1,vz1,cyz1", "treatment n2,my2,vy2,mz2,vz2,cyz2", "alternative -"],
        [
            ("diff", "diff"),
            ("se", "standard_error"),
            ("statistic", "statistic"),
            ("df", "degrees_of_freedom"),
            ("p_value", "p_value"),
            ("ci_low", "low"),
            ("ci_high", "high"),
            ("lift", "lift"),
            ("lift_low", "lift_low"),
            ("lift_high", "lift_high"),
            ("ratio1", "control_ratio"),
            ("ratio2", "treatment_ratio"),
        ],
        is_two_sided
    ),
    proof!(
        "ab_cuped",
        "cuped.json",
        ["control n1,my1,vy1,mx1,vx1,cxy1", "treatment n2,my2,vy2,mx2,vx2,cxy2", "alternative -"],
        [
            ("theta", "theta"),
            ("rho", "rho"),
            ("variance_reduction", "variance_reduction"),
            ("adj_mean1", "adjusted_control_mean"),
            ("adj_mean2", "adjusted_treatment_mean"),
            ("diff", "diff"),
            ("se", "standard_error"),
            ("statistic", "statistic"),
            ("df", "degrees_of_freedom"),
            ("p_value", "p_value"),
            ("ci_low", "low"),
            ("ci_high", "high"),
            ("lift", "lift"),
            ("lift_low", "lift_low"),
            ("lift_high", "lift_high"),
            ("raw_p_value", "raw_p_value"),
            ("cov_balance_p", "balance"),
        ],
        is_two_sided
    ),
    proof!(
        "ab_poststratify",
        "stratified_cuped.json",
        ["control n1,mean1,var1,-,-,-", "treatment n2,mean2,var2,-,-,-"],
        *WELCH,
        has_no_covariate
    ),
    proof!(
        "ab_chi2",
        "chi_square.json",
        [],
        [("statistic", "statistic"), ("p_value", "p_value"), ("min_expected", "min_expected")],
        all
    ),
    proof!("ab_fisher", "fisher.json", [], [("odds_ratio", "odds_ratio"), ("p_value", "p_value")], all),
    proof!(
        "ab_mannwhitney",
        "rank_sum.json",
        [],
        [("u", "u"), ("z", "z"), ("p_value", "p_value"), ("prob_superiority", "prob_superiority")],
        all
    ),
    proof!(
        "ab_quantile_ci",
        "quantile.json",
        ["values \"values\""],
        [("estimate", "estimate"), ("ci_low", "low"), ("ci_high", "high"), ("se", "standard_error")],
        all
    ),
    proof!(
        "ab_srm",
        "sample_ratio.json",
        ["cells -,-,observed,weights"],
        [("statistic", "statistic"), ("df", "degrees_of_freedom"), ("p_value", "p_value")],
        has_one_phase
    ),
    proof!(
        "ab_srm_phases",
        "sample_ratio.json",
        ["cells phase,arm,observed,weight"],
        [("statistic", "statistic"), ("df", "degrees_of_freedom"), ("p_value", "p_value")],
        all
    ),
    proof!(
        "ab_srm_sequential",
        "sequential_sample_ratio.json",
        ["cells -,-,observed,weights"],
        [("log_e", "log_e"), ("p_value", "p_value")],
        has_one_phase
    ),
    proof!("ab_adjust_pvalues", "multiplicity.json", [], [("ab_adjust_pvalues", "adjusted")], all),
    proof!(
        "ab_sample_size_prop",
        "sample_size.json",
        ["metric -", "inflation -", "one_sided -"],
        *SAMPLE_SIZE,
        |given| is_plain(given) && given["metric"] == "proportion"
    ),
    proof!("ab_power", "power.json", ["+ mean1 => 20"], [("power", "power"), ("se", "standard_error")], all),
    proof!("ab_mde", "detectable.json", [], [("mde_abs", "mde_abs"), ("mde_rel", "mde_rel")], all),
    proof!(
        "ab_noninferiority",
        "noninferiority.json",
        ["control n1,mean1,var1", "treatment n2,mean2,var2", "margin margin_rel", "relative -"],
        [
            ("contrast", "contrast"),
            ("se", "standard_error"),
            ("statistic", "statistic"),
            ("p_value", "p_value"),
            ("bound", "bound"),
            ("state", "state"),
        ],
        |given| given["relative"] == true
    ),
    proof!(
        "ab_interaction",
        "interaction.json",
        ["cells n,mean,var"],
        [
            ("effect", "estimate"),
            ("se", "standard_error"),
            ("statistic", "statistic"),
            ("df", "degrees_of_freedom"),
            ("p_value", "p_value"),
            ("ci_low", "low"),
            ("ci_high", "high"),
        ],
        all
    ),
    proof!(
        "ab_heterogeneity",
        "heterogeneity.json",
        [],
        [
            ("q", "q"),
            ("p_value", "p_value"),
            ("tau2", "tau2"),
            ("pooled", "pooled"),
            ("pooled_se", "pooled_standard_error"),
        ],
        all
    ),
    proof!(
        "ab_sequential",
        "sequential.json",
        [],
        [("ci_low", "low"), ("ci_high", "high"), ("p_value", "p_value"), ("multiplier", "multiplier")],
        // Where the bounds are no difference of nearly equal numbers.
        |given| given["diff"] == 0.0 || given["alternative"] == "two-sided" && given["alpha"] == 1e-6
    ),
    proof!(
        "ab_bayes",
        "bayes.json",
        [],
        [
            ("post_mean", "mean"),
            ("post_sd", "sd"),
            ("prob_better", "probability_better"),
            ("loss_treatment", "treatment_loss"),
            ("loss_control", "control_loss"),
        ],
        all
    ),
    proof!(
        "ab_bayes_beta",
        "bayes_beta.json",
        [],
        [
            ("post_mean", "mean"),
            ("post_sd", "sd"),
            ("prob_better", "probability_better"),
            ("loss_treatment", "treatment_loss"),
            ("loss_control", "control_loss"),
        ],
        all
    ),
];

#[test]
fn sql_gives_the_figures_of_the_vectors() {
    let database = Database::new();
    let mut client = database.connect();
    for proof in PROOFS {
        compare(&mut client, proof);
    }
}

/// What the vectors have no case for, from others of these functions or by hand.
#[test]
fn what_has_no_vectors_agrees_with_what_has() {
    let mut client = Database::new().connect();
    for (condition, what) in [
        (
            "(select (n_control, n_treatment, n_total, mde_abs, alpha_used) = (6280, 6280, 12560, 0.5, 0.05) from ab_sample_size(20, 10, 0.025))",
            "the sample size of Kohavi and others for 10 and 0.5",
        ),
        (
            "(select bool_and((select mde_abs <= s.mde_abs from ab_mde(s.n_control, 10, s.n_treatment, 10, 20, power => p))
                          and (select mde_abs > s.mde_abs from ab_mde(s.n_control - 1, 10, s.n_treatment - 1, 10, 20, power => p)))
              from unnest('{0.5, 0.6, 0.7, 0.8, 0.9, 0.95}'::float8[]) p, ab_sample_size(20, 10, 0.025, power => p, ratio => 1) s)",
            "the least size at which ab_mde finds the effect",
        ),
        (
            "ab_cuped_theta('{18, 40}', '{3.5, 4}', '{17, 20}') = (17 * 17 + 39 * 20) / (17 * 3.5 + 39 * 4)",
            "a coefficient weighed by degrees of freedom",
        ),
        (
            "(select theta from ab_cuped(18, 352, 2718, 2, 3.5, 17, 40, 333, 3017, 2, 4, 20))
              = ab_cuped_theta('{18, 40}', '{3.5, 4}', '{17, 20}')",
            "the coefficient of two arms",
        ),
        ("(select (days, weeks) = (21, 3) from ab_runtime(100, '{10,20,30,40,50,60,70,80,90,91,92,93,94,95,100}', 1))", "whole weeks"),
        ("(select (days, weeks) = (14, 2) from ab_runtime(100, '{10,90,200}', 0.5))", "no fewer than two weeks"),
        ("(select (days, weeks) = (7, 1) from ab_runtime(100, '{10,90,200}', 0.5, 1))", "one week, if wanted"),
        ("(select days is null and note = 'not_reached' from ab_runtime(100, '{10,90,99}', 1))", "not reached"),
        (
            "(select (annual, annual_low, annual_high) = (730, -365, 'Infinity') from ab_project(0.5, -0.25, 'Infinity', 4))",
            "a year",
        ),
        (
            "(select array_agg(z_bound order by look) = '{2.4380,2.4268,2.4102,2.3966,2.3860}' from (select look, round(z_bound::numeric, 4)::float8 as z_bound from ab_group_bounds('{0.2,0.4,0.6,0.8,1}', spending => 'pocock')) b)",
            "the bounds of Pocock's kind",
        ),
        (
            "(select z_bound = 3 and p_bound < 0.0028 from ab_group_bounds('{0.5, 1}', past_bounds => '{3}') where look = 1)",
            "a bound that was used",
        ),
        (
            "(select array_agg((arm, round(prob_best::numeric, 6), round(weight::numeric, 6), method, note)::text order by arm)
              = '{\"(1,0.000000,0.050000,thompson,)\",\"(2,1.000000,0.950000,thompson,)\"}' from ab_bandit('{1000,1000}', '{1,9}', '{1,1}'))",
            "a bandit that knows",
        ),
        (
            "(select array_agg((arm, weight, note)::text order by arm) = '{\"(1,0.5,burn_in)\",\"(2,0.5,burn_in)\"}' from ab_bandit('{99,1000}', '{1,9}', '{1,1}'))",
            "a bandit that does not know yet",
        ),
        ("(select (prob_best, expected_loss, weight) = (1, 0, 1) from ab_bandit('{1000}', '{1}', '{1}', floor => 0))", "an arm alone"),
        (
            "(select array_agg((arm, n, estimate, round(se::numeric, 6), periods, note)::text order by arm)
              = '{\"(1,600,11.25,0.273861,2,)\",\"(2,1400,12.25,0.139443,2,)\"}' from ab_bandit_estimate('{1,1,2,2}', '{1,2,1,2}', '{500,500,100,900}', '{10.5,11.5,12,13}', '{25,25,25,25}'))",
            "arms by period",
        ),
        ("(select (prior_mean, round(prior_sd::numeric, 9), tests, note) = (0, 0.0, 4, 'few_tests') from ab_prior('{1,-1,1,-1}', '{1,1,1,1}'))", "no prior"),
        ("(select (shrunken, factor) = (1, 0.5) and abs(shrunken_se - sqrt(0.5)) < 1e-15 from ab_shrink(2, 1, 1))", "half of it"),
        (
            "(select array_agg((ord, p_value, p_adjusted, rejected, method, note)::text order by ord)
              = '{\"(1,0.04,0.04,t,bh,)\",\"(2,,,,bh,null_input)\",\"(3,0.02,0.04,t,bh,)\"}' from ab_adjust_pvalues_table('{0.04,null,0.02}', 'bh'))",
            "a row for each p-value",
        ),
    ] {
        let holds: Option<bool> = client
            .query_one(&format!("select {condition}"), &[])
            .unwrap_or_else(|error| panic!("{what}: {error:?}"))
            .get(0);
        assert_eq!(holds, Some(true), "{what}: {condition}");
    }
}

#[test]
fn a_null_gives_a_row_that_says_so() {
    let database = Database::new();
    let mut client = database.connect();
    for call in [
        "ab_ttest(null, 1, 1, 2, 1, 1)",
        "ab_ztest(1, null, 1, 1)",
        "ab_ztest(1, 1, 1, 1, ci_method => null)",
        "ab_mean_ci(2, null, 1)",
        "ab_proportion_ci(1, 2, null)",
        "ab_lift_ci(2, 1, 1, 2, 1, 1, method => null)",
        "ab_ratio_test(2, 1, 1, 1, 1, null, 2, 1, 1, 1, 1, 0)",
        "ab_cuped(2, 1, 1, 1, 1, null, 2, 1, 1, 1, 1, 0)",
        "ab_poststratify('{2}', '{null}', '{1}', '{2}', '{1}', '{1}')",
        "ab_chi2('{2, null}', '{1, 1}')",
        "ab_fisher(2, 1, 2, null)",
        "ab_mannwhitney('{1, null}', '{2}')",
        "ab_quantile_ci(null, 0.5)",
        "ab_srm('{1, null}', '{1, 1}')",
        "ab_srm_phases('{1, 1}', '{1, null}', '{1, 1}', '{1, 1}')",
        "ab_srm_sequential('{1, 1}', null)",
        "ab_adjust_pvalues_table(null)",
        "ab_sample_size(null, 1, 1)",
        "ab_sample_size_prop(0.1, null)",
        "ab_power(2, null, 1, 2, 1, 1)",
        "ab_mde(2, 1, 2, 1, null)",
        "ab_runtime(2, '{1, null}', 1)",
        "ab_noninferiority(2, 1, 1, 2, 1, 1, null)",
        "ab_interaction('{2, 2, 2, null}', '{1, 1, 1, 1}', '{1, 1, 1, 1}')",
        "ab_heterogeneity('{1, 2}', '{1, null}')",
        "ab_project(1, null, 2, 3)",
        "ab_sequential(1, null, 2)",
        "ab_group_bounds('{0.5, null}')",
        "ab_bayes(1, null)",
        "ab_bayes_beta(1, 1, null, 1)",
        "ab_bandit('{2, null}', '{1, 1}', '{1, 1}')",
        "ab_bandit_estimate('{1}', '{1}', null, '{1}', '{1}')",
        "ab_prior('{1, null}', '{1, 1}')",
        "ab_shrink(1, 1, null)",
    ] {
        let row: Value =
            client.query_one(&format!("select to_jsonb(r) from {call} r"), &[]).expect("one row").get(0);
        let row = row.as_object().expect("a row");
        assert!(row.iter().all(|(column, value)| value.is_null() != (column == "note")), "{call}: {row:?}");
        assert_eq!(row["note"], "null_input", "{call}");
    }
    for call in ["ab_cuped_theta('{2, null}', '{1, 1}', '{1, 1}')", "ab_adjust_pvalues(null)"] {
        let is_null: bool = client.query_one(&format!("select {call} is null"), &[]).expect(call).get(0);
        assert!(is_null, "{call}");
    }
}

#[test]
fn numbers_that_no_data_can_have_are_refused_by_name() {
    let database = Database::new();
    let mut client = database.connect();
    for (call, argument) in [
        ("ab_ttest(-1, 1, 1, 2, 1, 1)", "n1"),
        ("ab_ttest(2, 'NaN', 1, 2, 1, 1)", "mean1"),
        ("ab_ttest(2, 1, -1, 2, 1, 1)", "var1"),
        ("ab_ttest(2, 1, 1, 2, 1, 'Infinity')", "var2"),
        ("ab_ttest(2, 1, 1, 2, 1, 1, 1)", "alpha"),
        ("ab_ttest(2, 1, 1, 2, 1, 1, 0.05, 'both')", "alternative"),
        ("ab_ztest(10, 11, 10, 1)", "x1"),
        ("ab_ztest(10, 1, 10, -1)", "x2"),
        ("ab_ztest(10, 1, 10, 1, 'NaN')", "alpha"),
        ("ab_proportion_ci(3, 2)", "x"),
        ("ab_mean_ci(2, 1, 'NaN')", "variance"),
        ("ab_proportion_ci(1, 2, 0.05, 'wald')", "method must be \"wilson\", \"exact\""),
        ("ab_ztest(2, 1, 2, 1, ci_method => 'exact')", "ci_method must be \"newcombe\" or \"wald\""),
        ("ab_lift_ci(2, 1, 1, 2, 1, 1, 0.05, 'ratio')", "method must be \"fieller\""),
        ("ab_ratio_test(2, 1, 1, 1, 1, 2, 2, 1, 1, 1, 1, 0)", "cyz1"),
        ("ab_cuped(2, 1, 1, 1, 1, 0, 2, 1, 1, 1, 1, 2)", "cxy2"),
        ("ab_cuped(2, 1, 1, 1, 1, 0, 2, 1, 1, 1, 1, 0, theta => 'NaN')", "theta"),
        ("ab_cuped_theta('{2}', '{1, 1}', '{1}')", "vx must be of the length of n, 1, not 2"),
        ("ab_poststratify('{2}', '{1}', '{1}', '{2, 2}', '{1, 1}', '{1, 1}')", "n2"),
        ("ab_poststratify('{2}', '{1}', '{1, 1}', '{2}', '{1}', '{1}')", "var1"),
        ("ab_chi2('{2, 2}', '{1}')", "conversions"),
        ("ab_chi2('{2, 2, 2}', '{1, 1, 1}', true)", "yates"),
        ("ab_fisher(2, 3, 2, 1)", "x1"),
        ("ab_fisher(2, 1, 2, 1, 'more')", "alternative must be \"two-sided\", \"greater\" or \"less\""),
        ("ab_mannwhitney('{1}', '{NaN}')", "y"),
        ("ab_quantile_ci('{2, 1}', 0.5)", "values"),
        ("ab_quantile_ci('{1, 2}', 1)", "q"),
        ("ab_srm('{1, 2}', '{1}')", "weights"),
        ("ab_srm('{1, 2}', '{1, 1}', 0)", "threshold"),
        ("ab_srm_phases('{1, 1}', '{1, 1}', '{1, 1}', '{1, 1}')", "arm"),
        ("ab_srm_phases('{1, 1}', '{1, 2}', '{1, 1}', '{1}')", "weight"),
        ("ab_srm_sequential('{1, 2}', '{1, 1}', 0)", "concentration"),
        ("ab_adjust_pvalues('{2}')", "p"),
        ("ab_adjust_pvalues('{1}', 'sidak')", "method must be \"bonferroni\""),
        ("ab_adjust_pvalues_table('{1}', 'holm', 1)", "alpha"),
        ("ab_sample_size('NaN', 1, 0.1)", "baseline_mean"),
        ("ab_sample_size(1, 1, 0.1, treatments => 0)", "treatments"),
        ("ab_sample_size_prop(0.6, 1)", "mde_rel"),
        ("ab_power(2, 'NaN', 1, 2, 1, 1)", "mean1"),
        ("ab_power(2, 1, -1, 2, 1, 1)", "sd1"),
        ("ab_mde(2, 1, 2, 1, 1, power => 2)", "power"),
        ("ab_runtime(1, '{2, 1}', 1)", "cumulative_users"),
        ("ab_runtime(1, '{1, 2}', 0)", "traffic"),
        ("ab_noninferiority(2, 1, 1, 2, 1, 1, 1)", "margin_rel"),
        ("ab_interaction('{2, 2}', '{1, 1}', '{1, 1}')", "n must be of the four cells"),
        ("ab_interaction('{2}', '{1}', '{1}', 'ratio')", "scale must be \"additive\" or \"log\""),
        ("ab_heterogeneity('{1, 2}', '{1, -1}')", "se"),
        ("ab_project(1, 2, 3, 4)", "ci_low"),
        ("ab_project(1, 0, 3, 4, -1)", "days"),
        ("ab_sequential(1, -1, 2)", "se"),
        ("ab_sequential(1, 1, 2, tuning_n => 0)", "tuning_n"),
        ("ab_group_bounds('{1, 0.5}')", "info"),
        ("ab_group_bounds('{1}', spending => 'flat')", "spending must be \"obf\", \"pocock\" or \"power\""),
        ("ab_group_bounds('{1}', sides => 3)", "sides"),
        ("ab_bayes(1, 1, prior_sd => -1)", "prior_sd"),
        ("ab_bayes('NaN', 1)", "diff"),
        ("ab_bayes_beta(1, 2, 1, 1)", "x1"),
        ("ab_bayes_beta(1, 1, 1, 1, 0)", "a must be"),
        ("ab_bandit('{2}', '{1}', '{-1}')", "var"),
        ("ab_bandit('{2}', '{1, 2}', '{1}')", "mean"),
        ("ab_bandit('{2}', '{1}', '{1}', 'best')", "algorithm must be \"thompson\" or \"top_two\""),
        ("ab_bandit('{2}', '{1}', '{1}', floor => 2)", "floor"),
        ("ab_bandit_estimate('{1, 1}', '{1, 1}', '{2, 2}', '{1, 1}', '{1, 1}')", "arm"),
        ("ab_prior('{1}', '{1, 1}')", "se"),
        ("ab_shrink(1, 1, -1)", "prior_sd"),
    ] {
        let error = sql_error(client.query(&format!("select * from {call}"), &[]));
        assert_eq!((error.sqlstate.as_str(), error.code.as_str()), ("22023", "invalid_argument"), "{call}");
        assert!(error.message.starts_with(argument), "{call}: {}", error.message);
    }
}
