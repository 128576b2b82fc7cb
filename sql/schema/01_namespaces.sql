-- Buckets are made of UTF-8: in another encoding the same user would be another text. SQL_ASCII, which initdb chooses in the
-- C locale, passes on the bytes that clients send, and those are UTF-8 as a rule.
do $$
begin
    if current_setting('server_encoding') not in ('UTF8', 'SQL_ASCII') then
        raise exception 'pg_ab needs a database with encoding UTF8, not %', current_setting('server_encoding')
            using errcode = 'feature_not_supported', hint = 'create the database with: create database … encoding ''UTF8'' template template0';
    end if;
end
$$;

-- What users may name lives in ab and in the extension's schema; what nobody should call lives in ab_internal.
create schema ab;

comment on schema ab is 'pg_ab: tables and views of experiments, events and results';

create schema ab_internal;

comment on schema ab_internal is 'pg_ab: its inside; nothing here is an interface';

create domain ab.key as text
    constraint key_check check (value collate "C" ~ '^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$');

comment on domain ab.key is 'name of a workspace, experiment, variant, metric or salt: letters, digits, "_", "." and "-", starting with a letter or digit, at most 128 bytes; no colon, because the colon separates what is hashed';
