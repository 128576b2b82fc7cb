#!/bin/sh
# untested: no container engine was at hand
#
# The extension and the gateway's own role, as make run has them.
set -eu
psql -v ON_ERROR_STOP=1 -U postgres -d ab -v password="$AB_GATEWAY_PASSWORD" <<'SQL'
create extension pg_ab;
create role ab_gateway login password :'password';
select ab_grant('ab_gateway', access) from unnest(array['client', 'developer', 'analyst']) as access;
SQL
