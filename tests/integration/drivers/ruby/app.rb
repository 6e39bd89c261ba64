# An application of Ruby's pg: prepared statements, single-row mode, pipelines, COPY, notifications, type maps.
require 'pg'
$stdout.sync = true

def tell(what, *values)
  puts "#{what}: #{values.inspect}"
end

def connection(**more)
  PG.connect(**more)
end

FIELDS = %i[PG_DIAG_SEVERITY PG_DIAG_SQLSTATE PG_DIAG_MESSAGE_PRIMARY PG_DIAG_MESSAGE_DETAIL PG_DIAG_MESSAGE_HINT
            PG_DIAG_STATEMENT_POSITION PG_DIAG_CONTEXT PG_DIAG_SCHEMA_NAME PG_DIAG_TABLE_NAME PG_DIAG_COLUMN_NAME
            PG_DIAG_CONSTRAINT_NAME].freeze

def failing(what)
  yield
rescue PG::Error => e
  if e.respond_to?(:result) && e.result
    tell(what, e.class, *FIELDS.map { |field| e.result.error_field(PG.const_get(field)) }.compact)
  else
    tell(what, e.class, e.message.split('failed: ').last.strip)
  end
else
  raise "#{what} did not fail"
end

def one(conn, sql, values = [])
  conn.exec_params(sql, values).getvalue(0, 0)
end

def parameters
  conn = connection(application_name: 'a ruby', options: '-c search_path=pg_catalog -c my.own=yes', client_encoding: 'latin1')
  %w[application_name client_encoding DateStyle TimeZone standard_conforming_strings is_superuser].each do |name|
    tell(name, conn.parameter_status(name))
  end
  tell('encoding', conn.internal_encoding, one(conn, "SELECT chr(233)").encode('UTF-8'))
  conn.set_client_encoding('UTF8')
  conn.exec("SET search_path = public; SET TimeZone = 'Asia/Tokyo'")
  tell('changed', conn.parameter_status('TimeZone'), conn.get_client_encoding)
  conn.reset
  tell('connection reset', conn.parameter_status('TimeZone'), one(conn, 'SHOW search_path'), one(conn, 'SHOW my.own'))
  failing('in a block') { conn.exec('SET search_path = public; DISCARD ALL') }
  conn.exec('SET search_path = public')
  conn.exec('DISCARD ALL')
  tell('discarded', one(conn, 'SHOW search_path'))
  conn.finish
  failing('no such parameter') { connection(options: '-c no_such=1') }
  failing('wrong password') { connection(password: 'wrong') }
  failing('no such database') { connection(dbname: 'never_was') }
end

def statements
  all = Array.new(5) { connection }
  all[0].exec('CREATE TABLE rb (id serial PRIMARY KEY, v text UNIQUE, n int CHECK (n < 1000))')
  all.each_with_index { |conn, number| conn.prepare('mine', "SELECT $1::int * 10 + #{number}, '#{number}'") }
  sum = 0
  10.times do |turn|
    all.each_with_index do |conn, number|
      row = conn.exec_prepared('mine', [turn]).values[0]
      raise row.inspect unless row[1] == number.to_s
      sum += row[0].to_i + one(conn, 'SELECT $1::int', [turn]).to_i
    end
  end
  tell('sum', sum)
  tell('described', all[0].describe_prepared('mine').ftype(0), all[0].describe_prepared('mine').paramtype(0))
  failing('in use') { all[0].prepare('mine', 'SELECT 1') }
  all[0].exec('DEALLOCATE mine')
  failing('forgotten') { all[0].exec_prepared('mine', [1]) }
  all[0].prepare('', 'SELECT $1::text')
  tell('unnamed', all[0].exec_prepared('', ['x']).values, all[0].exec_prepared('', ['y']).values)
  all[1].prepare('star', 'SELECT * FROM rb')
  all[1].exec_prepared('star')
  all[2].exec('ALTER TABLE rb ADD COLUMN more int')
  begin
    all[1].exec_prepared('star')
  rescue PG::FeatureNotSupported
    nil # "cached plan must not change result type" is PostgreSQL's own answer
  end
  conn = all[3]
  conn.type_map_for_results = PG::BasicTypeMapForResults.new(conn)
  tell('typed', conn.exec("SELECT 1, 'x', true, 1.5::float8, '2024-07-01'::date, ARRAY[1,2], NULL").values)
  all.each(&:finish)
end

def blocks
  conn = connection
  notices = []
  conn.set_notice_processor { |message| notices << message.strip }
  ['SELECT 1/0', 'INSERT INTO rb (id) VALUES (NULL)', 'INSERT INTO rb (n) VALUES (1000)', 'SELECT nope', 'SELEC', "SELECT 'x'::int",
   'SELECT * FROM never_was', "DO $$ BEGIN RAISE EXCEPTION 'own' USING ERRCODE = 'P0042', DETAIL = 'why', HINT = 'how'; END $$"
  ].each do |sql|
    failing(sql) { conn.transaction { conn.exec(sql) } }
    conn.exec('BEGIN')
    failing(sql) { conn.exec_params(sql, []) }
    tell('status', conn.transaction_status)
    failing('then') { conn.exec('SELECT 1') }
    conn.exec('ROLLBACK')
  end
  conn.transaction do
    conn.exec("INSERT INTO rb (v) VALUES ('outer')")
    conn.exec('SAVEPOINT one')
    failing('inner') { conn.exec("INSERT INTO rb (v) VALUES ('outer')") }
    conn.exec('ROLLBACK TO one')
    conn.exec("DO $$ BEGIN RAISE NOTICE 'noted'; RAISE WARNING 'warned' USING HINT = 'a hint'; END $$")
  end
  tell('kept', one(conn, 'SELECT count(*) FROM rb'), notices)
  conn.send_query("SELECT 1; SELECT 'two', 2; SELECT 1/0; SELECT 3")
  results = []
  while (result = conn.get_result)
    results << [result.res_status(result.result_status), result.ntuples, result.cmd_status]
  end
  tell('several', results)
  conn.finish
end

def rows_one_by_one
  conn = connection
  conn.send_query_params('SELECT i, repeat($1, i % 100) FROM generate_series(1, 3000) i', ['x'])
  conn.set_single_row_mode
  sum = 0
  conn.get_result.stream_each_row { |row| sum += row[0].to_i + row[1].size }
  conn.discard_results
  tell('stream', sum)
  conn.send_query('SELECT 10 / (5 - generate_series(1, 10))')
  conn.set_single_row_mode
  count = 0
  failing('in the middle') { conn.get_result.stream_each { count += 1 } }
  tell('before it', count)
  conn.discard_results
  conn.transaction do
    conn.exec('DECLARE c CURSOR FOR SELECT generate_series(1, 100)')
    tell('fetched', conn.exec('FETCH 30 FROM c').ntuples, conn.exec('FETCH ALL FROM c').ntuples)
  end
  conn.finish
end

def pipelines
  conn = connection
  conn.enter_pipeline_mode
  200.times { |number| conn.send_query_params('SELECT $1::int', [number]) }
  conn.pipeline_sync
  sum = 0
  200.times do
    sum += conn.get_result.getvalue(0, 0).to_i
    raise 'more' if conn.get_result
  end
  tell('pipeline', sum, conn.get_result.result_status == PG::PGRES_PIPELINE_SYNC)
  conn.send_query_params('SELECT 1', [])
  conn.send_query_params('SELECT 1/0', [])
  conn.send_query_params('SELECT 2', [])
  conn.pipeline_sync
  seen = []
  until seen.size == 4
    result = conn.sync_get_result
    seen << result.result_status if result
  end
  tell('with an error', seen)
  conn.exit_pipeline_mode
  tell('still', one(conn, 'SELECT 5'))
  conn.finish
end

def copying
  conn = connection
  conn.exec('CREATE TABLE rbcopy (a int, b text)')
  result = conn.copy_data('COPY rbcopy FROM STDIN') do
    20_000.times { |number| conn.put_copy_data("#{number}\tline #{number}\n") }
  end
  tell('in', result.cmd_tuples)
  lines = 0
  conn.copy_data('COPY rbcopy TO STDOUT') { lines += 1 while conn.get_copy_data }
  tell('out', lines)
  failing('bad row') do
    conn.copy_data('COPY rbcopy FROM STDIN') do
      conn.put_copy_data("x\tbad\n")
      100_000.times { conn.put_copy_data("1\tgood\n") }
    end
  end
  begin
    conn.copy_data('COPY rbcopy FROM STDIN') do
      conn.put_copy_data("1\tx\n")
      raise ArgumentError, 'changed my mind'
    end
  rescue ArgumentError => e
    tell('given up', e.message)
  end
  tell('kept', one(conn, 'SELECT count(*) FROM rbcopy'))
  conn.finish
end

def types
  conn = connection
  [['int8', 2**60], ['numeric', '-1.2300'], ['text', "é漢字😀 '\\"], ['bool', 't'], ['date', '0001-01-01'],
   ['timestamptz', '2024-07-01 12:00:00.123456+03'], ['interval', '1 mon -3 days'], ['jsonb', '{"a": [1, null]}'],
   ['uuid', '00000000-0000-0000-0000-000000000007'], ['text', nil], ['int[]', '{1,NULL,3}']].each do |type, value|
    tell(type, one(conn, "SELECT $1::#{type}", [value]))
  end
  binary = conn.exec_params('SELECT $1::bytea, $2::int', [{ value: "\x00\xFF'".b, format: 1 }, '7'], 1)
  tell('binary', binary.getvalue(0, 0), binary.getvalue(0, 1))
  tell('large', one(conn, 'SELECT $1::text', ['x' * 3_000_000]).size)
  conn.transaction do
    number = conn.lo_creat
    object = conn.lo_open(number, PG::INV_READ | PG::INV_WRITE)
    conn.lo_write(object, 'large objects')
    conn.lo_lseek(object, 6, PG::SEEK_SET)
    tell('large object', conn.lo_read(object, 100))
    conn.lo_close(object)
    conn.lo_unlink(number)
  end
  conn.finish
end

def notifications
  listener = connection
  sender = connection
  listener.exec('LISTEN rb_news')
  5.times { |number| sender.exec("NOTIFY rb_news, '#{number}'") }
  heard = []
  listener.wait_for_notify(20) { |channel, _, payload| heard << [channel, payload] } until heard.size == 5
  tell('heard', heard)
  [listener, sender].each(&:finish)
end

def cancelling
  conn = connection
  other = connection
  watcher = Thread.new do
    Thread.pass until one(other, "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(45)' AND wait_event = 'PgSleep' AND " \
                             'datname = current_database()') == '1'
    conn.cancel
  end
  failing('cancelled') { conn.exec('SELECT pg_sleep(45)') }
  watcher.join
  conn.exec('SET statement_timeout = 40')
  failing('timeout') { conn.exec('SELECT pg_sleep(30)') }
  tell('still', one(conn, 'SELECT 6'))
  [conn, other].each(&:finish)
end

def reconnects
  15.times { |number| tell('connection', one(connection, 'SELECT $1::int', [number])) }
  conn = connection
  failing('own end') { conn.exec('SELECT pg_terminate_backend(pg_backend_pid())') }
  tell('status', conn.status == PG::CONNECTION_BAD)
  conn.reset
  tell('again', one(conn, 'SELECT 1'))
  threads = Array.new(16) do |number|
    Thread.new do
      mine = connection
      8.times do |turn|
        mine.transaction { raise 'another row' unless one(mine, 'SELECT $1::int', [number * 100 + turn]).to_i == number * 100 + turn }
      end
      mine.finish
    end
  end
  threads.each(&:join)
end

%i[parameters statements blocks rows_one_by_one pipelines copying types notifications cancelling reconnects].each do |name|
  next unless ARGV.empty? || ARGV.include?(name.to_s)

  puts "-- #{name}"
  send(name)
end
puts '-- the end'
