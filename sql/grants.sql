-- PUBLIC may call what only calculates; everything else goes through ab_grant().
do $$
declare
    member text;
begin
    for member in
        select p.oid::regprocedure::text
        from pg_depend d
        join pg_proc p on p.oid = d.objid
        where d.classid = 'pg_proc'::regclass
            and d.deptype = 'e'
            and d.refclassid = 'pg_extension'::regclass
            and d.refobjid = (select e.oid from pg_extension e where e.extname = 'pg_ab')
            and p.provolatile <> 'i'
    loop
        execute format('revoke execute on routine %s from public', member);
    end loop;
end
$$;
