-- insert_run
-- Ask for a run; the one of that day that is there already, whoever asked for it, is left as it is. Files that were handed in and refused
-- count as comparisons of their day: another one may follow.
INSERT INTO reconciliation (merchant_id, reconciliation_id, connection_id, business_date, source, dry_run, requested_by, due_at, created_at,
                            number)
SELECT $1::text, $2::text, $3::text, $4::date, $5::text, $6::boolean, $7::text, $8::timestamptz, $8::timestamptz,
       $9::int + (SELECT count(*)::int
                    FROM reconciliation r
                   WHERE r.merchant_id = $1::text AND r.connection_id = $3::text AND r.business_date = $4::date AND r.source = $5::text
                     AND r.source <> 'gateway' AND r.state = 'refused' AND NOT r.dry_run)
    ON CONFLICT (merchant_id, connection_id, business_date, source, number) WHERE NOT dry_run DO NOTHING;

-- days_to_correct
-- The days from one on whose newest run has ended: a report that is corrected changes the balances of all after it.
SELECT r.business_date, r.number
  FROM reconciliation r
 WHERE r.merchant_id = $1::text AND r.connection_id = $2::text AND r.business_date >= $3::date AND r.source = $4::text AND NOT r.dry_run
   AND r.finished_at IS NOT NULL
   AND NOT EXISTS (SELECT FROM reconciliation l
                    WHERE (l.merchant_id, l.connection_id, l.business_date, l.source, l.number)
                        = (r.merchant_id, r.connection_id, r.business_date, r.source, r.number + 1)
                      AND NOT l.dry_run)
 ORDER BY r.business_date;

-- supersede_runs
-- The earlier runs of a run's day no longer count.
UPDATE reconciliation e
   SET superseded = true
  FROM reconciliation r
 WHERE r.merchant_id = $1::text AND r.reconciliation_id = $2::text AND NOT r.dry_run
   AND (e.merchant_id, e.connection_id, e.business_date, e.source) = (r.merchant_id, r.connection_id, r.business_date, r.source)
   AND e.number < r.number AND NOT e.dry_run;

-- supersede_waiting
-- What the earlier runs of a run's day wait for is found again if it still does not fit.
UPDATE mismatch m
   SET state = 'resolved', resolved_at = $3::timestamptz, details = m.details || jsonb_build_object('superseded_by', $2::text)
  FROM reconciliation r
  JOIN reconciliation e ON (e.merchant_id, e.connection_id, e.business_date, e.source)
                         = (r.merchant_id, r.connection_id, r.business_date, r.source) AND e.number < r.number AND NOT e.dry_run
 WHERE r.merchant_id = $1::text AND r.reconciliation_id = $2::text AND NOT r.dry_run
   AND (m.merchant_id, m.reconciliation_id) = (e.merchant_id, e.reconciliation_id) AND m.state = 'waiting';

-- find_run_of_day
-- The newest run of a day, if there is one.
SELECT r.merchant_id, r.reconciliation_id, r.connection_id, r.business_date, r.source, r.dry_run, r.state, r.stopped, r.summary,
       r.lines_read, r.requested_by, r.error, r.created_at, r.finished_at, r.number, r.superseded
  FROM reconciliation r
 WHERE r.merchant_id = $1::text AND r.connection_id = $2::text AND r.business_date = $3::date AND r.source = $4::text AND NOT r.dry_run
 ORDER BY r.number DESC
 LIMIT 1;

-- find_run
-- One run.
SELECT r.merchant_id, r.reconciliation_id, r.connection_id, r.business_date, r.source, r.dry_run, r.state, r.stopped, r.summary,
       r.lines_read, r.requested_by, r.error, r.created_at, r.finished_at, r.number, r.superseded
  FROM reconciliation r
 WHERE r.merchant_id = $1::text AND r.reconciliation_id = $2::text;

-- list_runs
-- A page of a merchant's runs, the newest first, those before the cursor.
SELECT r.merchant_id, r.reconciliation_id, r.connection_id, r.business_date, r.source, r.dry_run, r.state, r.stopped, r.summary,
       r.lines_read, r.requested_by, r.error, r.created_at, r.finished_at, r.number, r.superseded
  FROM reconciliation r
 WHERE r.merchant_id = $1::text AND ($2::text IS NULL OR r.reconciliation_id < $2::text)
 ORDER BY r.reconciliation_id DESC
 LIMIT $3::int;

-- days_to_schedule
-- Days for which a connection has no run of its gateway's, the oldest first: of the last weeks, and however long the service was away all
-- since the newest that it asked for by itself.
SELECT c.merchant_id, c.connection_id, d.day
  FROM connection c
 CROSS JOIN LATERAL (
       SELECT max(s.business_date) AS day FROM reconciliation s
        WHERE s.merchant_id = c.merchant_id AND s.connection_id = c.connection_id AND s.source = 'gateway' AND NOT s.dry_run
          AND s.requested_by = 'schedule') AS asked
 CROSS JOIN LATERAL (
       SELECT g.at::date AS day
         FROM generate_series(greatest((c.created_at AT TIME ZONE 'UTC')::date,
                                       least($1::date - $2::int, coalesce(asked.day + 1, $1::date)))::timestamp,
                              $1::date::timestamp, interval '1 day') AS g(at)) AS d
 WHERE c.disabled_at IS NULL
   AND NOT EXISTS (SELECT FROM reconciliation r
                    WHERE r.merchant_id = c.merchant_id AND r.connection_id = c.connection_id AND r.business_date = d.day
                      AND r.source = 'gateway' AND NOT r.dry_run)
 ORDER BY d.day, c.merchant_id, c.connection_id
 LIMIT $3::int;

-- files_compared
-- The files of a connection's days before one, as they were compared last, the newest day first: what is corrected has a higher revision.
SELECT r.business_date, f.currency, f.revision
  FROM reconciliation r
  JOIN settlement_file f ON (f.merchant_id, f.reconciliation_id) = (r.merchant_id, r.reconciliation_id)
 WHERE r.merchant_id = $1::text AND r.connection_id = $2::text AND r.business_date < $3::date AND r.business_date >= $3::date - $4::int
   AND r.source = 'gateway' AND NOT r.dry_run AND r.finished_at IS NOT NULL
   AND NOT EXISTS (SELECT FROM reconciliation l
                    WHERE (l.merchant_id, l.connection_id, l.business_date, l.source, l.number)
                        = (r.merchant_id, r.connection_id, r.business_date, r.source, r.number + 1)
                      AND NOT l.dry_run)
   AND f.currency IS NOT NULL AND f.revision IS NOT NULL
 ORDER BY f.currency, r.business_date DESC, f.number;

-- corrections_due
-- Earlier days of a connection that are to be compared again.
SELECT r.business_date
  FROM reconciliation r
 WHERE r.merchant_id = $1::text AND r.connection_id = $2::text AND r.business_date < $3::date AND r.source = 'gateway' AND NOT r.dry_run
   AND r.number > 1 AND r.due_at IS NOT NULL
 ORDER BY r.business_date
 LIMIT 1;

-- due_runs
-- Runs that are due and that nobody holds, the oldest day first, so that what is carried over meets its next day; read without locks.
SELECT r.merchant_id, r.reconciliation_id, r.generation
  FROM reconciliation r
 WHERE r.due_at <= $1::timestamptz AND (r.lease_until IS NULL OR r.lease_until <= $1::timestamptz)
 ORDER BY r.business_date, r.merchant_id, r.reconciliation_id
 LIMIT $2::int;

-- take_run
-- Take the lease of a run, unless someone else took it meanwhile. While an earlier day of the connection is held, its later days wait:
-- what was settled before must be known.
UPDATE reconciliation r
   SET lease_until = $4::timestamptz, generation = r.generation + 1, tries = r.tries + 1
 WHERE r.merchant_id = $1::text AND r.reconciliation_id = $2::text AND r.generation = $3::int AND r.due_at IS NOT NULL
   AND (r.lease_until IS NULL OR r.lease_until <= $5::timestamptz)
   AND NOT EXISTS (SELECT FROM reconciliation e
                    WHERE e.merchant_id = r.merchant_id AND e.connection_id = r.connection_id AND e.business_date < r.business_date
                      AND e.due_at IS NOT NULL AND e.lease_until > $5::timestamptz)
RETURNING r.merchant_id, r.reconciliation_id, r.connection_id, r.business_date, r.source, r.dry_run, r.state, r.generation, r.tries,
          r.number;

-- keep_run
-- Keep the lease of a run that takes longer; one that was taken over is not touched.
UPDATE reconciliation r
   SET lease_until = $4::timestamptz
 WHERE r.merchant_id = $1::text AND r.reconciliation_id = $2::text AND r.generation = $3::int AND r.due_at IS NOT NULL;

-- still_held
-- Whether a run is still held as it was taken.
SELECT r.generation
  FROM reconciliation r
 WHERE r.merchant_id = $1::text AND r.reconciliation_id = $2::text AND r.generation = $3::int AND r.due_at IS NOT NULL;

-- tell_lines
-- How many lines of a run were read.
UPDATE reconciliation r
   SET lines_read = greatest(r.lines_read, $4::bigint)
 WHERE r.merchant_id = $1::text AND r.reconciliation_id = $2::text AND r.generation = $3::int AND r.due_at IS NOT NULL;

-- advance_run
-- A run has come to its next state; whoever lost its lease changes nothing.
UPDATE reconciliation r
   SET state = $4::text, lines_read = coalesce($5::bigint, r.lines_read), stopped = coalesce($6::text, r.stopped), error = NULL
 WHERE r.merchant_id = $1::text AND r.reconciliation_id = $2::text AND r.generation = $3::int AND r.due_at IS NOT NULL;

-- put_off_run
-- A run could not go on: it is due again at a time, with the reason.
UPDATE reconciliation r
   SET due_at = $4::timestamptz, lease_until = NULL, error = $5::text
 WHERE r.merchant_id = $1::text AND r.reconciliation_id = $2::text AND r.generation = $3::int AND r.due_at IS NOT NULL;

-- finish_run
-- A run has come to its end.
UPDATE reconciliation r
   SET state = $4::text, summary = $5::jsonb, due_at = NULL, lease_until = NULL, error = NULL, finished_at = $6::timestamptz
 WHERE r.merchant_id = $1::text AND r.reconciliation_id = $2::text AND r.generation = $3::int AND r.due_at IS NOT NULL;

-- list_files
-- The files of a run.
SELECT f.number, f.state, f.currency, f.account, f.sequence, f.revision, f.lines, f.gross_minor, f.fee_minor, f.net_minor,
       f.opening_minor, f.closing_minor, f.sha256, f.damage, f.reason
  FROM settlement_file f
 WHERE f.merchant_id = $1::text AND f.reconciliation_id = $2::text
 ORDER BY f.number;

-- insert_file
-- A file of a run, taken or refused.
INSERT INTO settlement_file (merchant_id, reconciliation_id, number, connection_id, state, currency, account, sequence, revision, lines,
                             gross_minor, fee_minor, net_minor, opening_minor, closing_minor, sha256, damage, reason)
VALUES ($1::text, $2::text, $3::int, $4::text, $5::text, $6::text, $7::text, $8::bigint, $9::int, $10::bigint, $11::bigint, $12::bigint,
        $13::bigint, $14::bigint, $15::bigint, $16::text, $17::text, $18::text);

-- file_before
-- The newest part of an account's files of a connection that was taken on an earlier day, how many days were refused since, and whether
-- one between is still to be taken.
SELECT f.sequence, f.closing_minor,
       (SELECT count(DISTINCT s.business_date)::int
          FROM settlement_file g
          JOIN reconciliation s ON (s.merchant_id, s.reconciliation_id) = (g.merchant_id, g.reconciliation_id)
         WHERE g.merchant_id = $1::text AND g.connection_id = $2::text AND g.state = 'refused'
           AND coalesce(g.currency, $3::text) = $3::text AND s.source = $6::text AND NOT s.dry_run AND NOT s.superseded
           AND s.business_date > r.business_date AND s.business_date < $5::date) AS refused,
       EXISTS (SELECT FROM reconciliation b
                WHERE b.merchant_id = $1::text AND b.connection_id = $2::text AND b.source = $6::text AND NOT b.dry_run
                  AND b.state = 'due' AND b.business_date > r.business_date AND b.business_date < $5::date) AS between_due
  FROM settlement_file f
  JOIN reconciliation r ON (r.merchant_id, r.reconciliation_id) = (f.merchant_id, f.reconciliation_id)
 WHERE f.merchant_id = $1::text AND f.connection_id = $2::text AND f.currency = $3::text AND f.account IS NOT DISTINCT FROM $4::text
   AND f.state = 'accepted' AND f.sequence > 0
   AND r.source = $6::text AND NOT r.dry_run AND NOT r.superseded AND r.business_date < $5::date
 ORDER BY r.business_date DESC, f.number DESC
 LIMIT 1;

-- currencies_sold
-- The currencies in which orders were placed through a connection.
SELECT o.currency
  FROM orders o
 WHERE o.merchant_id = $1::text AND o.connection_id = $2::text
 GROUP BY o.currency
 ORDER BY o.currency;

-- contracts
-- What a connection's charges cost by the contracts that held on a day.
SELECT DISTINCT ON (f.currency) f.currency, f.basis_points, f.fixed_minor
  FROM fee_contract f
 WHERE f.merchant_id = $1::text AND f.connection_id = $2::text AND f.valid_from <= $3::date
 ORDER BY f.currency, f.valid_from DESC;

-- insert_piece
-- A piece of a file that is handed in.
INSERT INTO settlement_upload (merchant_id, reconciliation_id, number, bytes) VALUES ($1::text, $2::text, $3::int, $4::bytea);

-- read_piece
-- A piece of a file that was handed in.
SELECT u.bytes FROM settlement_upload u WHERE u.merchant_id = $1::text AND u.reconciliation_id = $2::text AND u.number = $3::int;

-- delete_pieces
-- A file that was handed in has been read.
DELETE FROM settlement_upload u WHERE u.merchant_id = $1::text AND u.reconciliation_id = $2::text;

-- forget_pieces
-- Files of which the end never came, because a process died that was being handed them. $1 sorts behind the names of all.
DELETE FROM settlement_upload u
 WHERE u.reconciliation_id < $1::text
   AND NOT EXISTS (SELECT FROM reconciliation r WHERE (r.merchant_id, r.reconciliation_id) = (u.merchant_id, u.reconciliation_id));

-- delete_lines
-- The lines of a dry run are not kept: what it found is.
DELETE FROM settlement_line l WHERE l.merchant_id = $1::text AND l.reconciliation_id = $2::text;

-- explain_statement
-- Payouts that arrived at the bank beside those that the gateway's reports tell of: by their name, and by their amount.
UPDATE settlement_line l
   SET code = 'unexplained_line'
 WHERE l.merchant_id = $1::text AND l.reconciliation_id = $2::text AND l.category IN ('payout', 'payout_failure')
   AND NOT EXISTS (SELECT FROM settlement_line p
                     JOIN reconciliation r ON (r.merchant_id, r.reconciliation_id) = (p.merchant_id, p.reconciliation_id)
                    WHERE p.merchant_id = $1::text AND r.connection_id = $3::text AND r.source <> 'camt053' AND NOT r.dry_run AND NOT r.superseded
                      AND p.category = l.category AND p.source IN (l.order_reference, l.payout)
                      AND p.gross_minor = -l.gross_minor AND p.currency = l.currency);

-- traces_of_run
-- The first lines of a run whose orders somebody follows.
SELECT l.code, a.order_id, a.number, a.payment_intent, a.trace
  FROM settlement_line l
  JOIN attempt a ON (a.merchant_id, a.connection_id, a.payment_intent) = (l.merchant_id, $3::text, l.payment)
 WHERE l.merchant_id = $1::text AND l.reconciliation_id = $2::text AND a.trace IS NOT NULL
 ORDER BY l.line_id
 LIMIT $4::int;

-- count_codes
-- How many lines ended in each code, and their money.
SELECT l.code, l.currency, count(*) AS lines, sum(l.gross_minor)::bigint AS gross_minor, sum(l.fee_minor)::bigint AS fee_minor,
       sum(l.net_minor)::bigint AS net_minor
  FROM settlement_line l
 WHERE l.merchant_id = $1::text AND l.reconciliation_id = $2::text
 GROUP BY l.code, l.currency
 ORDER BY l.code, l.currency;

-- count_mismatches
-- How many mismatches of a run there are, by code and what became of them.
SELECT m.code, m.resolution, m.state, count(*) AS found, coalesce(sum(m.amount_minor), 0)::bigint AS amount_minor
  FROM mismatch m
 WHERE m.merchant_id = $1::text AND m.reconciliation_id = $2::text
 GROUP BY m.code, m.resolution, m.state
 ORDER BY m.code, m.resolution, m.state;

-- list_mismatches
-- A page of a merchant's mismatches, of one run where it is named, those behind the cursor.
SELECT m.reconciliation_id, m.code, m.subject, m.payment, m.order_id, m.attempt, m.currency, m.amount_minor, m.lines, m.resolution,
       m.state, m.wait_until, m.details, m.found_at, m.resolved_at
  FROM mismatch m
 WHERE m.merchant_id = $1::text AND ($2::text IS NULL OR m.reconciliation_id = $2::text)
   AND (m.reconciliation_id, m.code, m.subject) > ($3::text, $4::text, $5::text)
 ORDER BY m.reconciliation_id, m.code, m.subject
 LIMIT $6::int;

-- open_mismatches
-- The next mismatches of a run that are to be resolved, or were found waiting long enough.
SELECT m.reconciliation_id, m.code, m.subject, m.payment, m.order_id, m.attempt, m.currency, m.amount_minor, m.lines, m.resolution,
       m.state, m.wait_until, m.details, m.found_at, m.resolved_at
  FROM mismatch m
 WHERE m.merchant_id = $1::text
   AND (m.reconciliation_id = $2::text AND m.state = 'open'
        OR m.connection_id = $3::text AND m.state = 'waiting' AND m.wait_until <= $4::date)
   AND (m.reconciliation_id, m.code, m.subject) > ($5::text, $6::text, $7::text)
 ORDER BY m.reconciliation_id, m.code, m.subject
 LIMIT $8::int;

-- parked_webhooks
-- Webhooks that came for orders of these names and fitted none, a few of each: what they tell belongs to the payments.
SELECT wanted.order_id, i.event_id, i.type
  FROM unnest($3::text[]) AS wanted(order_id)
 CROSS JOIN LATERAL (
       SELECT i.event_id, i.type
         FROM inbox i
        WHERE i.merchant_id = $1::text AND i.connection_id = $2::text AND i.state IN ('parked', 'failed') AND i.order_id = wanted.order_id
        ORDER BY i.event_id
        LIMIT $4::int) AS i
 ORDER BY wanted.order_id, i.event_id;

-- settle_mismatch
-- What became of a mismatch; one that somebody else has settled meanwhile is left alone.
UPDATE mismatch m
   SET state = $5::text, code = $6::text, wait_until = $7::date, details = m.details || $8::jsonb,
       resolved_at = CASE WHEN $5::text = 'resolved' THEN $9::timestamptz END
 WHERE m.merchant_id = $1::text AND m.reconciliation_id = $2::text AND m.code = $3::text AND m.subject = $4::text
   AND m.state IN ('open', 'waiting');

-- clear_waiting
-- What waited for a line that has come meanwhile, on any day, is resolved; looked up one by one.
UPDATE mismatch m
   SET state = 'resolved', resolved_at = $3::timestamptz
 WHERE m.merchant_id = $1::text AND m.connection_id = $2::text AND m.state = 'waiting'
   AND (SELECT true
          FROM settlement_line l
          JOIN reconciliation r ON (r.merchant_id, r.reconciliation_id) = (l.merchant_id, l.reconciliation_id)
         WHERE l.merchant_id = $1::text AND l.payment = m.payment AND NOT r.dry_run AND NOT r.superseded AND r.state <> 'due'
           AND r.connection_id = m.connection_id
           AND (l.category = 'charge' AND m.code <> 'refund_missing'
                OR l.category = 'refund' AND m.code = 'refund_missing' AND l.source = m.subject)
         LIMIT 1);

-- clear_decided
-- What people have decided about is resolved: each difference whose case is closed, looked up one by one.
UPDATE mismatch m
   SET state = 'resolved', resolved_at = $2::timestamptz
 WHERE m.merchant_id = $1::text AND m.state = 'case'
   AND (SELECT c.state
          FROM cases c
         WHERE c.merchant_id = $1::text AND c.kind = 'recon_' || m.code AND c.subject = m.connection_id || ':' || m.subject) = 'closed';

-- stop_automatic
-- A cap or the breaker holds the automatic actions of a run back.
UPDATE mismatch m
   SET state = 'stopped'
 WHERE m.merchant_id = $1::text AND m.reconciliation_id = $2::text AND m.state = 'open' AND m.resolution = 'automatic';

-- not_captured
-- Of these payments, those that are not known here as captured.
SELECT wanted.payment
  FROM unnest($3::text[]) AS wanted(payment)
 WHERE NOT EXISTS (SELECT FROM attempt a
                    WHERE a.merchant_id = $1::text AND a.connection_id = $2::text AND a.payment_intent = wanted.payment
                      AND a.state = 'succeeded')
 ORDER BY wanted.payment;
