-- What else is asked of an effect: harmless, the same everywhere, worth how much; the mathematics is in core/src/statistics.
create or replace function @extschema@.ab_noninferiority(
    n1 bigint,
    mean1 double precision,
    var1 double precision,
    n2 bigint,
    mean2 double precision,
    var2 double precision,
    margin_rel double precision,
    alpha double precision default 0.05,
    higher_is_better boolean default true
)
    returns table (
        contrast double precision,
        se double precision,
        statistic double precision,
        p_value double precision,
        bound double precision,
        state text,
        method text,
        note text
    )
    language c
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'ab_noninferiority_wrapper';

comment on function @extschema@.ab_noninferiority(bigint, double precision, double precision, bigint, double precision, double precision, double precision, double precision, boolean) is $$Whether arm 2 (treatment) is not worse than arm 1 (control) by more than the fraction margin_rel of the control's mean: the test of a guardrail, one-sided at alpha.

state: pass (harm beyond the margin is ruled out), fail (significantly worse), breach (significantly worse than the margin) or inconclusive. contrast: how
much better than the margin. Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT state, p_value FROM ab_noninferiority(1000, 10, 25, 1100, 9.9, 30, 0.05);$$;

create or replace function @extschema@.ab_interaction(
    n bigint[],
    mean double precision[],
    var double precision[],
    scale text default 'additive',
    alpha double precision default 0.05
)
    returns table (
        effect double precision,
        se double precision,
        statistic double precision,
        df double precision,
        p_value double precision,
        ci_low double precision,
        ci_high double precision,
        method text,
        note text
    )
    language c
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'ab_interaction_wrapper';

comment on function @extschema@.ab_interaction(bigint[], double precision[], double precision[], text, double precision) is $$Whether two experiments change each other's effect, from users, means and sample variances (n - 1) of the cells 00, 01, 10 and 11.

The first digit is the arm of the first experiment, 0 the control. scale: additive (in the metric's unit) or log (factors, of positive means). Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT effect, p_value FROM ab_interaction('{100, 110, 90, 105}', '{10, 11, 12, 15}', '{25, 26, 27, 28}');$$;

create or replace function @extschema@.ab_heterogeneity(diff double precision[], se double precision[])
    returns table (
        q double precision,
        df integer,
        p_value double precision,
        tau2 double precision,
        pooled double precision,
        pooled_se double precision,
        method text,
        note text
    )
    language c
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'ab_heterogeneity_wrapper';

comment on function @extschema@.ab_heterogeneity(double precision[], double precision[]) is $$Whether segments differ in their effect: Cochran's Q, from the effect and standard error of each.

tau2: variance of the effect between segments. Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT q, p_value FROM ab_heterogeneity('{1, 2, 1.5}', '{0.5, 0.5, 0.4}');$$;

create or replace function @extschema@.ab_project(
    diff double precision,
    ci_low double precision,
    ci_high double precision,
    units_per_day double precision,
    days double precision default 365
)
    returns table (annual double precision, annual_low double precision, annual_high double precision, method text, note text)
    language c
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'ab_project_wrapper';

comment on function @extschema@.ab_project(double precision, double precision, double precision, double precision, double precision) is $$What an effect per unit and its interval come to over units_per_day and days: eligible users a day at full rollout, or new users for an effect per user.

Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT annual, annual_low, annual_high FROM ab_project(0.05, 0.01, 0.09, 20000);$$;
