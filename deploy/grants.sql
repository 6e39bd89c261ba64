-- What pgmend needs in a database to find out what became of a COMMIT whose answer was lost (guard.commit_outcome), and
-- no more. PostgreSQL allows the functions to everybody unless somebody has revoked them; what is there already is left
-- alone, so this can be run again. As a superuser, in each database:
--
--   psql -v app=app -v health=pgmend_health -f grants.sql app
--
-- app: the role of the application, as which pgmend logs in for it. health: the role of health checks (health.user),
-- which may read the WAL by the replication protocol, so that the same is known across crashes, restarts and promotions.
-- A role that may replicate can copy the whole cluster: give it a password of its own, and a line of pg_hba.conf for
-- pgmend's addresses alone. Without `health` only the first half is granted.
-- Then SHOW PROTECTION on pgmend's console says what works, and what does not and why.

\set ON_ERROR_STOP on
\set QUIET on
\if :{?app}
\else
    \echo 'psql -v app=ROLE [-v health=ROLE] -f grants.sql DATABASE'
    \quit
\endif

-- The application: the number of its transactions, what became of them, and the end of its own old backends.
SELECT format('GRANT EXECUTE ON FUNCTION %s TO %I', oid::regprocedure, :'app')
  FROM pg_proc
 WHERE pronamespace = 'pg_catalog'::regnamespace
   AND proname IN ('pg_current_xact_id_if_assigned', 'pg_current_snapshot', 'pg_snapshot_xmax', 'pg_xact_status',
                   'pg_logical_emit_message', 'gen_random_uuid', 'pg_control_system', 'pg_control_checkpoint',
                   'pg_postmaster_start_time', 'pg_is_in_recovery', 'pg_walfile_name', 'pg_current_wal_insert_lsn',
                   'pg_stat_get_activity', 'pg_terminate_backend')
   AND NOT has_function_privilege(:'app', oid, 'EXECUTE')
\gexec

\if :{?health}
SELECT format('CREATE ROLE %I LOGIN', :'health') WHERE to_regrole(quote_ident(:'health')) IS NULL
\gexec
SELECT format('ALTER ROLE %I REPLICATION', rolname) FROM pg_roles
 WHERE rolname = :'health' AND NOT rolreplication AND NOT rolsuper
\gexec
SELECT format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), :'health')
 WHERE NOT has_database_privilege(:'health', current_database(), 'CONNECT')
\gexec
SELECT format('GRANT EXECUTE ON FUNCTION %s TO %I', oid::regprocedure, :'health')
  FROM pg_proc
 WHERE pronamespace = 'pg_catalog'::regnamespace
   AND proname IN ('pg_control_system', 'pg_control_checkpoint', 'pg_postmaster_start_time', 'pg_is_in_recovery',
                   'pg_walfile_name', 'pg_current_wal_lsn', 'pg_last_wal_replay_lsn', 'pg_last_wal_receive_lsn',
                   'pg_last_xact_replay_timestamp')
   AND NOT has_function_privilege(:'health', oid, 'EXECUTE')
\gexec
\echo 'Still to be done by hand: a password (\\password), and in pg_hba.conf a line like'
\echo '    hostssl  replication  ':health'  PGMEND-ADDRESS/32  scram-sha-256'
DO $$
BEGIN
    IF current_setting('wal_level') = 'minimal' OR current_setting('max_wal_senders')::int = 0 THEN
        RAISE WARNING 'the WAL cannot be read: wal_level must be replica or logical, max_wal_senders more than 0';
    END IF;
END $$;
\endif
