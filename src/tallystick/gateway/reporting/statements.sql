-- open_days
-- The currencies of an account with their first open days, and when its days begin; one row without a currency where it had no
-- money yet.
SELECT b.currency, b.next_day, a.day_offset_minutes
  FROM account a
  LEFT JOIN balance_account b ON b.account_id = a.account_id AND b.livemode = $2::boolean AND b.next_day IS NOT NULL
 WHERE a.account_id = $1::text
 ORDER BY b.currency;

-- reports_between
-- The newest revisions of the reports whose days lie whole in an interval, oldest first.
SELECT DISTINCT ON (s.sequence) s.id, s.sequence
  FROM settlement_report s
 WHERE s.account_id = $1::text AND s.livemode = $2::boolean AND s.currency = $3::text
   AND s.ends_at - interval '1 day' >= $4::timestamptz AND s.ends_at <= $5::timestamptz
 ORDER BY s.sequence, s.revision DESC;

-- reports_by_id
-- Settlement reports by id, in the order of their days.
SELECT s.account_id, s.livemode, s.id, s.currency, s.day, s.revision, s.sequence, s.ends_at, s.lines, s.gross, s.fee, s.net,
       s.opening, s.closing, s.sha256, s.balances, s.later_from, s.faults, s.created_at
  FROM settlement_report s
 WHERE s.account_id = $1::text AND s.livemode = $2::boolean AND s.id = ANY ($3::text[])
 ORDER BY s.sequence;

-- insert_run
-- A report is asked for.
INSERT INTO report_run (account_id, livemode, id, report_type, parameters, currency, columns, reports, last_day, status, created_at)
VALUES ($1::text, $2::boolean, $3::text, $4::text, $5::text::jsonb, $6::text, $7::text[], $8::text[], $9::date, $10::text,
        $11::timestamptz);

-- pending_runs
-- Of each account the report that waits longest to be written, the longest waiting first: who asks for many keeps nobody waiting.
SELECT r.account_id, r.livemode, r.id, r.report_type, r.parameters, r.currency, r.columns, r.reports, r.last_day, r.status,
       r.created_at
  FROM (SELECT DISTINCT ON (p.account_id, p.livemode) p.*
          FROM report_run p
         WHERE p.status = 'pending'
         ORDER BY p.account_id, p.livemode, p.created_at, p.id) AS r
 ORDER BY r.created_at, r.account_id, r.id
 LIMIT $1::int;

-- finish_run
-- A report is written, once.
UPDATE report_run r
   SET status = 'succeeded', file = $4::text, size_bytes = $5::bigint, manifest = $6::text::jsonb, succeeded_at = $7::timestamptz
 WHERE r.account_id = $1::text AND r.livemode = $2::boolean AND r.id = $3::text AND r.status = 'pending';

-- run_of_file
-- The report run that wrote a file.
SELECT r.account_id, r.livemode, r.id, r.report_type, r.parameters, r.currency, r.columns, r.reports, r.last_day, r.status,
       r.created_at, r.file, r.size_bytes, r.manifest, r.succeeded_at
  FROM report_run r
 WHERE r.account_id = $1::text AND r.livemode = $2::boolean AND r.file = $3::text;
