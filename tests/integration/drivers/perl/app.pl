# An application of DBD::Pg: prepared on the server and not, cursors, COPY, notifications, asynchronous queries.
use strict;
use warnings;
use utf8;
use DBI qw(:sql_types);
use DBD::Pg qw(:async :pg_types);
binmode STDOUT, ':utf8';
$| = 1;
$SIG{__WARN__} = sub { print $_[0] unless $_[0] =~ /disconnect invalidates/ };

sub tell_of { print join(' ', map { defined $_ ? (ref $_ ? join(',', map { defined $_ ? $_ : 'NULL' } @$_) : $_) : 'NULL' } @_), "\n" }

sub connection {
    my (%more) = @_;
    my $words = delete $more{words} // '';
    return DBI->connect("dbi:Pg:$words", delete $more{user}, delete $more{password},
        { RaiseError => 1, PrintError => 0, PrintWarn => 0, AutoCommit => 1, %more });
}

sub failing {
    my ($what, $handle, $action) = @_;
    my $done = eval { $action->(); 1 };
    die "$what did not fail" if $done;
    my $fields = '';
    if ($handle) {
        $fields = join ' ', map { my $value = $handle->pg_error_field($_); defined $value ? "$_=$value" : () }
            qw(severity state message_primary message_detail message_hint statement_position context schema table column constraint);
        tell_of("$what:", $handle->state, $fields =~ s/dbdpg_p\d+/dbdpg_p/r);
    } else {
        (my $words = $DBI::errstr) =~ s/.*failed: //s;
        tell_of("$what:", $words);
    }
}

sub parameters {
    my $handle = connection(words => q{application_name='perl app';options='-c search_path=pg_catalog -c my.own=yes'});
    tell_of(map { "$_ $handle->{$_}" } qw(pg_INV_READ pg_server_version));
    tell_of("$_:", $handle->selectrow_array("SHOW $_"))
        for qw(application_name search_path my.own client_encoding DateStyle TimeZone standard_conforming_strings);
    $handle->do(q{SET search_path = public; SET TimeZone = 'Asia/Tokyo'});
    tell_of('changed', $handle->selectrow_array(q{SELECT '2024-07-01 00:00+00'::timestamptz}));
    $handle->do('RESET ALL');
    tell_of('reset', $handle->selectrow_array('SHOW search_path'), $handle->selectrow_array('SHOW my.own'));
    $handle->disconnect;
    failing('no such parameter', undef, sub { connection(words => q{options='-c no_such=1'}) });
    failing('wrong password', undef, sub { connection(user => 'app', password => 'wrong') });
    failing('no such database', undef, sub { connection(words => 'dbname=never_was') });
}

sub statements {
    my @handles = map { connection() } 1 .. 5;
    $handles[0]->do('CREATE TABLE pl (id serial PRIMARY KEY, v text UNIQUE, n int CHECK (n < 1000))');
    for my $server (0, 1) {
        for my $turn (1 .. 8) {
            for my $number (0 .. $#handles) {
                # DBD::Pg numbers its statements by process and connection: many handles have the same texts and names.
                my $statement = $handles[$number]->prepare('SELECT ?::int * 10 + ?::int, ?::text',
                    { pg_server_prepare => $server, pg_switch_prepared => 1 });
                $statement->execute($number, $turn, "t$number");
                my @row = $statement->fetchrow_array;
                die "@row" unless "@row" eq ($number * 10 + $turn) . " t$number";
            }
        }
    }
    my $handle = $handles[0];
    my $named = $handle->prepare('SELECT $1::int + 1 AS x', { pg_prepare_now => 1 });
    tell_of('named', map { $named->execute($_); $named->fetchrow_array } 1 .. 5);
    tell_of('described', $named->{NAME}, $named->{TYPE}, $named->{NUM_OF_PARAMS});
    my $unnamed = $handle->prepare('SELECT ?::text', { pg_prepare_name => '' });
    tell_of('unnamed', map { $unnamed->execute($_); $unnamed->fetchrow_array } qw(a b c));
    my $insert = $handle->prepare('INSERT INTO pl (v, n) VALUES (?, ?) RETURNING id');
    $handle->begin_work;
    for my $number (1 .. 50) { $insert->execute("v$number", $number); $insert->fetchrow_array }
    tell_of('key', $handle->last_insert_id(undef, undef, 'pl', undef) > 0 ? 'is there' : 'is not');
    $handle->commit;
    my @status;
    tell_of('array', scalar $handle->prepare('INSERT INTO pl (v) VALUES (?)')->execute_array({ ArrayTupleStatus => \@status },
        [map { "a$_" } 1 .. 100]));
    tell_of('count', $handle->selectrow_array('SELECT count(*), sum(n) FROM pl'));
    # DDL of another connection under a prepared statement
    my $star = $handle->prepare('SELECT * FROM pl WHERE id = ?');
    $star->execute(1);
    tell_of('before', scalar(() = $star->fetchrow_array));
    $handles[1]->do('ALTER TABLE pl ADD COLUMN more int');
    my $again = $handle->prepare('SELECT * FROM pl WHERE id = ?');
    $again->execute(1);
    tell_of('after', scalar(() = $again->fetchrow_array));
    $handle->do('DEALLOCATE ALL');
    failing('forgotten', $handle, sub { $named->execute(1) });
    $_->disconnect for @handles;
}

sub blocks {
    my @notices;
    my $handle = connection(AutoCommit => 0, PrintWarn => 1);
    local $SIG{__WARN__} = sub { push @notices, $_[0] =~ s/\s+at .*//sr };
    for my $sql ('SELECT 1/0', 'INSERT INTO pl (v) VALUES (\'v1\')', 'INSERT INTO pl (n) VALUES (1000)', 'SELECT nope', 'SELEC',
        'INSERT INTO pl (id) VALUES (NULL)', 'SELECT \'x\'::int',
        'DO $$ BEGIN RAISE EXCEPTION \'own\' USING ERRCODE = \'P0042\', DETAIL = \'why\', HINT = \'how\'; END $$') {
        failing($sql, $handle, sub { $handle->do($sql) });
        failing('then', $handle, sub { $handle->do('SELECT 1') });
        tell_of('ping', $handle->ping, $handle->state, $handle->{pg_socket} > 0);
        $handle->rollback;
    }
    $handle->do(q{INSERT INTO pl (v) VALUES ('kept')});
    $handle->pg_savepoint('one');
    failing('inner', $handle, sub { $handle->do(q{INSERT INTO pl (v) VALUES ('kept')}) });
    $handle->pg_rollback_to('one');
    $handle->pg_release('one');
    $handle->do(q{DO $$ BEGIN RAISE NOTICE 'noted'; RAISE WARNING 'warned'; END $$});
    $handle->commit;
    tell_of('kept', $handle->selectrow_array(q{SELECT count(*) FROM pl WHERE v = 'kept'}));
    tell_of('notices', @notices);
    $handle->rollback;
    $handle->{ReadOnly} = 1;
    failing('read only', $handle, sub { $handle->do(q{INSERT INTO pl (v) VALUES ('never')}) });
    $handle->rollback;
    $handle->disconnect;
}

sub cursors {
    my $handle = connection(AutoCommit => 0);
    $handle->do('DECLARE c SCROLL CURSOR FOR SELECT generate_series(1, 100)');
    my $fetch = $handle->prepare('FETCH 30 FROM c');
    my $sum = 0;
    while ($fetch->execute and $fetch->rows > 0) { $sum += $_->[0] for @{ $fetch->fetchall_arrayref } }
    tell_of('sum', $sum, $handle->do('MOVE BACKWARD 5 FROM c'));
    $handle->do('DECLARE held CURSOR WITH HOLD FOR SELECT generate_series(1, 10)');
    $handle->commit;
    tell_of('held', map { $_->[0] } @{ $handle->selectall_arrayref('FETCH 4 FROM held') });
    $handle->commit;
    tell_of('still', map { $_->[0] } @{ $handle->selectall_arrayref('FETCH 4 FROM held') });
    $handle->do('CLOSE held');
    $handle->commit;
    undef $fetch;
    failing('closed', $handle, sub { $handle->selectall_arrayref('FETCH 4 FROM held') });
    $handle->disconnect;
}

sub copying {
    my $handle = connection();
    $handle->do('CREATE TABLE pl_copy (a int, b text)');
    $handle->do('COPY pl_copy FROM STDIN');
    $handle->pg_putcopydata("$_\tline $_\n") for 1 .. 20000;
    $handle->pg_putcopyend;
    $handle->do('COPY (SELECT * FROM pl_copy ORDER BY a) TO STDOUT');
    my ($lines, $bytes, $line) = (0, 0);
    while ($handle->pg_getcopydata($line) >= 0) { $lines++; $bytes += length $line }
    tell_of('out', $lines, $bytes);
    $handle->do('COPY pl_copy FROM STDIN');
    $handle->pg_putcopydata("x\tbad\n");
    my $late = '';
    eval { $handle->pg_putcopydata("1\tgood\n") for 1 .. 100000; 1 } or $late = 'met while writing or at the end';
    eval { $handle->pg_putcopyend; 1 } or $late = 'met while writing or at the end';
    tell_of('bad row', $late, $handle->state);
    tell_of('kept', $handle->selectrow_array('SELECT count(*) FROM pl_copy'));
    $handle->disconnect;
}

sub types {
    my $handle = connection(pg_enable_utf8 => 1);
    for my $case (['int8', '9007199254740993'], ['numeric', '-1.2300'], ['text', "é漢字\x{1F600} '\\"], ['bool', 't'], ['date', '0001-01-01'],
        ['timestamptz', '2024-07-01 12:00:00.123456+03'], ['interval', '1 mon -3 days'], ['jsonb', '{"a": [1, null]}'],
        ['uuid', '00000000-0000-0000-0000-000000000007'], ['inet', '10.0.0.1/8'], ['text', undef]) {
        my ($type, $value) = @$case;
        tell_of($type, $handle->selectrow_array("SELECT ?::$type", undef, $value));
    }
    my $statement = $handle->prepare('SELECT ?::bytea, ?::int[], ARRAY[[1,2],[3,4]]');
    $statement->bind_param(1, "\x00\xff'\\", { pg_type => PG_BYTEA });
    $statement->bind_param(2, [1, undef, 3]);
    $statement->execute;
    my ($bytes, $array, $nested) = $statement->fetchrow_array;
    tell_of('bytes', unpack('H*', $bytes), $array, map { $_ } map { @$_ } @$nested);
    tell_of('large', length $handle->selectrow_array('SELECT ?::text', undef, 'x' x 3_000_000));
    $handle->disconnect;
}

sub notifications {
    my ($listener, $sender) = (connection(), connection());
    $listener->do('LISTEN pl_news');
    $sender->do("NOTIFY pl_news, '$_'") for 1 .. 5;
    my @heard;
    while (@heard < 5) {
        while (my $note = $listener->pg_notifies) { push @heard, "$note->[0] $note->[2]" }
    }
    tell_of('heard', @heard);
    $_->disconnect for $listener, $sender;
}

sub asynchronous {
    my $handle = connection();
    my $statement = $handle->prepare('SELECT pg_sleep(0.05), 42', { pg_async => PG_ASYNC });
    $statement->execute;
    my $turns = 0;
    $turns++ until $handle->pg_ready;
    $statement->pg_result;
    tell_of('ready', ($statement->fetchrow_array)[1], $turns > 0);
    $handle->do('SELECT pg_sleep(47)', { pg_async => PG_ASYNC });
    my $other = connection();
    1 until $other->selectrow_array(q{SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(47)' AND wait_event = 'PgSleep'
        AND datname = current_database()});
    $other->disconnect;
    tell_of('cancelled', $handle->pg_cancel ? 'yes' : 'no');
    tell_of('afterwards', $handle->selectrow_array('SELECT 5'));
    $handle->do('SET statement_timeout = 40');
    failing('timeout', $handle, sub { $handle->do('SELECT pg_sleep(30)') });
    $handle->disconnect;
}

sub session_state {
    my @handles = map { connection() } 1 .. 3;
    for my $number (0 .. $#handles) {
        $handles[$number]->do('CREATE TEMP TABLE mine (a int)');
        $handles[$number]->do('INSERT INTO mine VALUES (?)', undef, $number);
    }
    tell_of('mine', map { $_->selectrow_array('SELECT a FROM mine') } @handles);
    my $number = $handles[0]->pg_lo_creat($handles[0]->{pg_INV_WRITE} | $handles[0]->{pg_INV_READ}) if $handles[0]->begin_work;
    my $descriptor = $handles[0]->pg_lo_open($number, $handles[0]->{pg_INV_WRITE} | $handles[0]->{pg_INV_READ});
    $handles[0]->pg_lo_write($descriptor, 'large object', 12);
    $handles[0]->pg_lo_lseek($descriptor, 6, 0);
    my $buffer;
    $handles[0]->pg_lo_read($descriptor, $buffer, 20);
    $handles[0]->pg_lo_close($descriptor);
    $handles[0]->commit;
    tell_of('large object', $buffer);
    $_->disconnect for @handles;
}

sub reconnects {
    for my $number (1 .. 15) {
        my $handle = connection();
        tell_of('connection', $handle->selectrow_array('SELECT ?::int', undef, $number));
        undef $handle if $number % 2;
    }
    my $handle = connection();
    failing('own end', $handle, sub { $handle->do('SELECT pg_terminate_backend(pg_backend_pid())') });
    tell_of('ping', $handle->ping);
    tell_of('again', connection()->selectrow_array('SELECT 1'));
}

my %sections = (parameters => \&parameters, statements => \&statements, blocks => \&blocks, cursors => \&cursors,
    copying => \&copying, types => \&types, notifications => \&notifications, asynchronous => \&asynchronous,
    session_state => \&session_state, reconnects => \&reconnects);
for my $name (qw(parameters statements blocks cursors copying types notifications asynchronous session_state reconnects)) {
    next if @ARGV and not grep { $_ eq $name } @ARGV;
    print "-- $name\n";
    $sections{$name}->();
}
print "-- the end\n";
