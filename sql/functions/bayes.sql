-- What to believe of an effect; the mathematics is in core/src/statistics/bayes.rs.
create or replace function @extschema@.ab_bayes(
    diff double precision,
    se double precision,
    prior_mean double precision default 0,
    prior_sd double precision default null,
    alpha double precision default 0.05
)
    returns table (
        post_mean double precision,
        post_sd double precision,
        ci_low double precision,
        ci_high double precision,
        prob_better double precision,
        loss_treatment double precision,
        loss_control double precision,
        method text,
        note text
    )
    language c
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'ab_bayes_wrapper';

comment on function @extschema@.ab_bayes(double precision, double precision, double precision, double precision, double precision) is $$What to believe of a difference or lift (treatment less control) with this estimate and standard error: its normal posterior, the chance that the treatment is better, and what a wrong choice costs.

prior_mean, prior_sd: what was believed before, as by ab_prior(); without prior_sd nothing was. ci_low, ci_high: credible interval of 1 - alpha. loss_treatment, loss_control: what shipping the treatment or keeping the control gives away on average.
A small loss is a reason to stop; it is no bound on false positives. The chance to be worse is that of ab_bayes(-diff, se, -prior_mean, prior_sd). Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT prob_better, loss_treatment FROM ab_bayes(0.03, 0.015, prior_sd => 0.05);$$;

create or replace function @extschema@.ab_bayes_beta(
    n1 bigint,
    x1 bigint,
    n2 bigint,
    x2 bigint,
    a double precision default 1,
    b double precision default 1,
    alpha double precision default 0.05
)
    returns table (
        post_mean double precision,
        post_sd double precision,
        ci_low double precision,
        ci_high double precision,
        prob_better double precision,
        loss_treatment double precision,
        loss_control double precision,
        lift double precision,
        lift_low double precision,
        lift_high double precision,
        method text,
        note text
    )
    language c
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'ab_bayes_beta_wrapper';

comment on function @extschema@.ab_bayes_beta(bigint, bigint, bigint, bigint, double precision, double precision, double precision) is $$What to believe of two conversion rates, x1 of n1 users of the control and x2 of n2 of the treatment, under the prior Beta(a, b) of each; exact at any size, also without conversions.

post_mean, post_sd, ci_low, ci_high: of the difference of the rates. prob_better, loss_treatment, loss_control: as of ab_bayes. lift: the median of the relative lift, lift_low and lift_high its equal-tailed credible interval.
a = b = 1 is uniform; what is known of rates about p is a = k * p, b = k * (1 - p), as if k users had been seen before. alpha: at least 1e-12. Takes some milliseconds.
Errors: invalid_argument (22023).

Example: SELECT prob_better, loss_treatment, lift FROM ab_bayes_beta(1000, 100, 1000, 120);$$;

create or replace function @extschema@.ab_prior(
    lift double precision[],
    se double precision[]
)
    returns table (
        prior_mean double precision,
        prior_sd double precision,
        tests integer,
        method text,
        note text
    )
    language c
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'ab_prior_wrapper';

comment on function @extschema@.ab_prior(double precision[], double precision[]) is $$The prior for ab_bayes and ab_shrink that past experiments suggest, from the lifts of all of them and their standard errors, wins and losses alike.

prior_sd: how much effects differ beyond their noise, 0 if not at all. note: few_tests below 20 experiments, which say it roughly; too_few_tests below 2.
Errors: invalid_argument (22023).

Example: SELECT prior_mean, prior_sd FROM ab_prior('{0.01, -0.03, 0.06, 0.002}', '{0.01, 0.02, 0.015, 0.01}');$$;

create or replace function @extschema@.ab_shrink(
    estimate double precision,
    se double precision,
    prior_sd double precision
)
    returns table (
        shrunken double precision,
        shrunken_se double precision,
        factor double precision,
        method text,
        note text
    )
    language c
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'ab_shrink_wrapper';

comment on function @extschema@.ab_shrink(double precision, double precision, double precision) is $$What is left of an estimate and its standard error under a prior about 0: what shipped was chosen for being great, and its luck does not last.

factor: how much of it is left. What a holdout should show is the sum of shrunken over what was shipped, with the root of the sum of the squares of shrunken_se; never add up the estimates themselves. Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT shrunken, shrunken_se FROM ab_shrink(0.06, 0.015, 0.03);$$;
