-- Everything named here is the user's: pg_dump must carry it.
do $$
declare
    member regclass;
begin
    foreach member in array array[
        'ab.workspace', 'ab.workspace_workspace_id_seq',
        'ab.experiment', 'ab.experiment_experiment_id_seq',
        'ab.variant', 'ab.variant_variant_id_seq',
        'ab.phase', 'ab.variant_range',
        'ab.metric', 'ab.metric_metric_id_seq',
        'ab.experiment_metric',
        'ab.layer', 'ab.layer_layer_id_seq', 'ab.layer_slice',
        'ab.holdout_experiment', 'ab.sticky_assignment',
        'ab.segment', 'ab.segment_segment_id_seq', 'ab.segment_member',
        'ab.override', 'ab.override_override_id_seq',
        'ab.flag', 'ab.flag_flag_id_seq',
        'ab.configuration',
        'ab.event_rejected', 'ab.event_rejected_rejected_id_seq', 'ab.event_staging', 'ab.event_staging_staging_id_seq',
        'ab.event_retention', 'ab.event_overflow', 'ab.exposure', 'ab.unit_metric', 'ab.variant_statistic', 'ab.phase_statistic', 'ab.metric_statistic', 'ab.look', 'ab.activity',
        'ab_internal.incarnation', 'ab_internal.event_expired', 'ab_internal.rollup_cursor', 'ab_internal.rollup_progress', 'ab_internal.expired_daily_result'
    ]::regclass[]
    loop
        perform pg_extension_config_dump(member, '');
    end loop;
end
$$;
