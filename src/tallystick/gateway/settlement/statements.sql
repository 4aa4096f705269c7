-- lock_balance
-- The terms of an account's currency and its first open day, locked: whoever holds this row closes its days.
SELECT b.next_day, b.fee_basis_points, b.fee_fixed, b.dispute_fee, a.day_offset_minutes, a.available_days, a.payout_interval
  FROM balance_account b
  JOIN account a ON a.account_id = b.account_id
 WHERE b.account_id = $1::text AND b.livemode = $2::boolean AND b.currency = $3::text
 ORDER BY b.account_id, b.livemode, b.currency
   FOR UPDATE OF b;

-- see_balance
-- The same without the lock.
SELECT b.next_day, b.fee_basis_points, b.fee_fixed, b.dispute_fee, a.day_offset_minutes, a.available_days, a.payout_interval
  FROM balance_account b
  JOIN account a ON a.account_id = b.account_id
 WHERE b.account_id = $1::text AND b.livemode = $2::boolean AND b.currency = $3::text;

-- due_days
-- Accounts and currencies whose first open day is to be closed, longest due first.
SELECT b.account_id, b.livemode, b.currency
  FROM balance_account b
 WHERE b.close_at <= $1::timestamptz
 ORDER BY b.close_at, b.account_id, b.livemode, b.currency
 LIMIT $2::int;

-- days_until
-- Accounts and currencies with an open day up to a date, of one account where one is named.
SELECT b.account_id, b.livemode, b.currency
  FROM balance_account b
 WHERE b.account_id > '' AND b.next_day <= $1::date AND ($2::text IS NULL OR b.account_id = $2::text)
 ORDER BY b.account_id, b.livemode, b.currency;

-- balances_of_account
-- The currencies in which an account has had money.
SELECT b.account_id, b.livemode, b.currency
  FROM balance_account b
 WHERE b.account_id = $1::text AND b.next_day IS NOT NULL
 ORDER BY b.account_id, b.livemode, b.currency;

-- charges_waiting
-- How many charges of a currency are in no report yet, up to a number.
SELECT count(*)::int AS charges
  FROM (SELECT t.id
          FROM ledger_transaction t
         WHERE t.account_id = $1::text AND t.livemode = $2::boolean AND t.currency = $3::text AND t.kind IN ('charge', 'capture')
           AND NOT EXISTS (SELECT FROM settlement_line l
                            WHERE l.account_id = t.account_id AND l.livemode = t.livemode AND l.ledger_transaction = t.id)
         ORDER BY t.id DESC
         LIMIT $4::int) AS waiting;

-- take_lines
-- Write lines for the first ledger transactions behind an id, of a currency and from before a day's end, that are in no report
-- yet: how many, and the last one's id.
WITH taken AS (
INSERT INTO settlement_line (account_id, livemode, ledger_transaction, currency, day, number, kind, gross, fee, net, source,
                             payment_intent, charge, order_id, created_at, available_at)
SELECT t.account_id, t.livemode, t.id, t.currency, $4::date,
       (coalesce((SELECT max(l.number) FROM settlement_line l
                   WHERE l.account_id = $1::text AND l.livemode = $2::boolean AND l.currency = $3::text AND l.day = $4::date), 0)
        + row_number() OVER (ORDER BY t.id))::int,
       t.kind, m.net + m.fee, m.fee, m.net,
       CASE WHEN t.kind IN ('charge', 'capture', 'void') THEN t.charge ELSE split_part(t.reference, ':', 2) END,
       t.payment_intent, t.charge, p.metadata->>'order_id', t.effective_at, coalesce(t.available_at, t.effective_at)
  FROM ledger_transaction t
 CROSS JOIN LATERAL (
        SELECT -ledger_sum_of(t.accounts, t.amounts, '{merchant_pending,merchant_available}') AS net,
               -ledger_sum_of(t.accounts, t.amounts, '{fee_revenue}') AS fee) AS m
  LEFT JOIN payment_intent p ON (p.account_id, p.livemode, p.id) = (t.account_id, t.livemode, t.payment_intent)
 WHERE t.account_id = $1::text AND t.livemode = $2::boolean AND t.currency = $3::text AND t.effective_at < $5::timestamptz
   AND t.id > $6::text
   AND NOT EXISTS (SELECT FROM settlement_line l
                    WHERE l.account_id = t.account_id AND l.livemode = t.livemode AND l.ledger_transaction = t.id)
 ORDER BY t.account_id, t.livemode, t.id
 LIMIT $7::int
RETURNING ledger_transaction)
SELECT count(*)::int AS lines, max(taken.ledger_transaction) AS last FROM taken;

-- releasable
-- What becomes available with a day's end: what was due since the day before, and what is new and due already. Payouts that the
-- merchant asked for, or called off, have taken from what is available already, or given back to it.
SELECT coalesce(sum(l.net) FILTER (WHERE l.kind NOT IN ('payout', 'payout_cancel')), 0)::bigint AS net, count(*) AS released
  FROM settlement_line l
 WHERE l.account_id = $1::text AND l.livemode = $2::boolean AND l.currency = $3::text AND l.available_at <= $6::timestamptz
   AND (l.available_at > $5::timestamptz OR l.day = $4::date) AND l.net <> 0;

-- release
-- Note what has become available.
INSERT INTO balance_release (account_id, livemode, ledger_transaction, currency)
SELECT l.account_id, l.livemode, l.ledger_transaction, l.currency
  FROM settlement_line l
 WHERE l.account_id = $1::text AND l.livemode = $2::boolean AND l.currency = $3::text AND l.available_at <= $6::timestamptz
   AND (l.available_at > $5::timestamptz OR l.day = $4::date) AND l.net <> 0;

-- pay_released
-- What is available and not paid out yet goes with a payout, so much at a time.
UPDATE balance_release r
   SET payout = $4::text
  FROM (SELECT u.ledger_transaction
          FROM balance_release u
         WHERE u.account_id = $1::text AND u.livemode = $2::boolean AND u.currency = $3::text AND u.payout IS NULL
         LIMIT $5::int) AS unpaid
 WHERE r.account_id = $1::text AND r.livemode = $2::boolean AND r.ledger_transaction = unpaid.ledger_transaction;

-- last_number
-- How many lines the day that is being closed has.
SELECT coalesce(max(l.number), 0)::int AS number
  FROM settlement_line l
 WHERE l.account_id = $1::text AND l.livemode = $2::boolean AND l.currency = $3::text AND l.day = $4::date;

-- note_payout
-- Lines of the day that is being closed name the payout that they went with, and the payout's own names itself: those behind a
-- number, so many at a time.
UPDATE settlement_line l
   SET payout = $5::text
 WHERE l.account_id = $1::text AND l.livemode = $2::boolean AND l.currency = $3::text AND l.day = $4::date
   AND l.number > $6::int AND l.number <= $6::int + $7::int
   AND (l.source = $5::text
        OR EXISTS (SELECT FROM balance_release r
                    WHERE r.account_id = l.account_id AND r.livemode = l.livemode AND r.ledger_transaction = l.ledger_transaction
                      AND r.payout = $5::text));

-- balances_of_day
-- What the lines of a day moved on every account of the ledger, debit positive.
SELECT leg.account, sum(leg.amount)::bigint AS amount
  FROM settlement_line l
  JOIN ledger_transaction t ON (t.account_id, t.livemode, t.id) = (l.account_id, l.livemode, l.ledger_transaction)
 CROSS JOIN LATERAL unnest(t.accounts, t.amounts) AS leg(account, amount)
 WHERE l.account_id = $1::text AND l.livemode = $2::boolean AND l.currency = $3::text AND l.day = $4::date
 GROUP BY leg.account
 ORDER BY leg.account;

-- lines_of
-- A page of a day's lines behind a number: those that move something of the merchant's.
SELECT l.number, l.ledger_transaction AS id, l.kind, l.currency, l.gross, l.fee, l.net, l.source, l.payment_intent, l.charge,
       l.order_id, l.payout, l.created_at, l.available_at
  FROM settlement_line l
 WHERE l.account_id = $1::text AND l.livemode = $2::boolean AND l.currency = $3::text AND l.day = $4::date
   AND l.kind = ANY ($5::text[]) AND l.number > $6::int
 ORDER BY l.account_id, l.livemode, l.currency, l.day, l.number
 LIMIT $7::int;

-- lines_of_cards
-- The charges among a day's lines that were made with some cards.
SELECT l.number, m.card_reference
  FROM settlement_line l
  JOIN charge c ON (c.account_id, c.livemode, c.id) = (l.account_id, l.livemode, l.charge)
  JOIN payment_method m ON (m.account_id, m.livemode, m.id) = (c.account_id, c.livemode, c.payment_method)
 WHERE l.account_id = $1::text AND l.livemode = $2::boolean AND l.currency = $3::text AND l.day = $4::date
   AND l.kind IN ('charge', 'capture') AND m.card_reference = ANY ($5::text[])
 ORDER BY l.number;

-- traces_of_lines
-- The first lines of a day whose payments somebody follows.
SELECT l.payment_intent, l.charge, i.trace
  FROM settlement_line l
  JOIN payment_intent i ON (i.account_id, i.livemode, i.id) = (l.account_id, l.livemode, l.payment_intent)
 WHERE l.account_id = $1::text AND l.livemode = $2::boolean AND l.currency = $3::text AND l.day = $4::date
   AND i.trace IS NOT NULL
 ORDER BY l.number
 LIMIT $5::int;

-- charge_lines
-- The first charges among a day's lines.
SELECT l.number
  FROM settlement_line l
 WHERE l.account_id = $1::text AND l.livemode = $2::boolean AND l.currency = $3::text AND l.day = $4::date
   AND l.kind IN ('charge', 'capture')
 ORDER BY l.number
 LIMIT $5::int;

-- last_report
-- The newest report of an account's currency.
SELECT s.account_id, s.livemode, s.id, s.currency, s.day, s.revision, s.sequence, s.ends_at, s.lines, s.gross, s.fee, s.net,
       s.opening, s.closing, s.sha256, s.balances, s.later_from, s.faults, s.created_at
  FROM settlement_report s
 WHERE s.account_id = $1::text AND s.livemode = $2::boolean AND s.currency = $3::text
 ORDER BY s.sequence DESC, s.revision DESC
 LIMIT 1;

-- empty_reports
-- How many of the newest reports of an account's currency, up to a number, are empty.
SELECT count(*) FILTER (WHERE newest.lines = 0)::int AS reports
  FROM (SELECT DISTINCT ON (s.sequence) s.lines
          FROM settlement_report s
         WHERE s.account_id = $1::text AND s.livemode = $2::boolean AND s.currency = $3::text
         ORDER BY s.sequence DESC, s.revision DESC
         LIMIT $4::int) AS newest;

-- latest_reports
-- The newest revision of every report of an account's currency, oldest first.
SELECT DISTINCT ON (s.sequence)
       s.account_id, s.livemode, s.id, s.currency, s.day, s.revision, s.sequence, s.ends_at, s.lines, s.gross, s.fee, s.net,
       s.opening, s.closing, s.sha256, s.balances, s.later_from, s.faults, s.created_at
  FROM settlement_report s
 WHERE s.account_id = $1::text AND s.livemode = $2::boolean AND s.currency = $3::text
 ORDER BY s.sequence, s.revision DESC;

-- list_reports
-- Reports of an account, of one day where one is named, the last to be written first, behind an id.
SELECT s.account_id, s.livemode, s.id, s.currency, s.day, s.revision, s.sequence, s.ends_at, s.lines, s.gross, s.fee, s.net,
       s.opening, s.closing, s.sha256, s.balances, s.later_from, s.faults, s.created_at
  FROM settlement_report s
 WHERE s.account_id = $1::text AND ($2::date IS NULL OR s.day = $2::date) AND s.id < $3::text
 ORDER BY s.id DESC
 LIMIT $4::int;

-- insert_report
-- Keep a report's manifest.
INSERT INTO settlement_report (account_id, livemode, id, currency, day, revision, sequence, ends_at, lines, gross, fee, net, opening,
                               closing, sha256, balances, later_from, faults, created_at)
VALUES ($1::text, $2::boolean, $3::text, $4::text, $5::date, $6::int, $7::int, $8::timestamptz, $9::int, $10::bigint, $11::bigint,
        $12::bigint, $13::bigint, $14::bigint, $15::text, $16::text::jsonb, $17::text, $18::text::jsonb, $19::timestamptz);

-- open_next_day
-- The day is closed; the next one is open.
UPDATE balance_account b
   SET next_day = $4::date, close_at = $5::timestamptz
 WHERE b.account_id = $1::text AND b.livemode = $2::boolean AND b.currency = $3::text;

-- insert_payout
-- Money goes to the merchant's bank.
INSERT INTO payout (account_id, livemode, id, currency, day, amount, status, arrival_at, created_at, automatic, description,
                    statement_descriptor, metadata, trace)
VALUES ($1::text, $2::boolean, $3::text, $4::text, $5::date, $6::bigint, $7::text, $8::timestamptz, $9::timestamptz, $10::boolean,
        $11::text, $12::text, $13::text::jsonb, $14::text);

-- insert_payout_within
-- The same if so much is available under the lock of the balance: what the last report came to and what was paid out or called off
-- since, less what refunds and disputes have taken since and nothing has made up for.
INSERT INTO payout (account_id, livemode, id, currency, day, amount, status, arrival_at, created_at, automatic, description,
                    statement_descriptor, metadata, trace)
SELECT $1::text, $2::boolean, $3::text, $4::text, $5::date, $6::bigint, $7::text, $8::timestamptz, $9::timestamptz, $10::boolean,
       $11::text, $12::text, $13::text::jsonb, $14::text
  FROM (SELECT coalesce(max(r.balances->>'merchant_available'), '0')::bigint AS available, coalesce(max(r.later_from), '') AS later_from
          FROM (SELECT s.balances, s.later_from
                  FROM settlement_report s
                 WHERE s.account_id = $1::text AND s.livemode = $2::boolean AND s.currency = $4::text
                 ORDER BY s.account_id DESC, s.livemode DESC, s.currency DESC, s.sequence DESC, s.revision DESC
                 LIMIT 1) AS r) AS reported
 CROSS JOIN LATERAL (
        SELECT coalesce(sum(ledger_sum_of(t.accounts, t.amounts, '{merchant_available}')), 0) AS available,
               coalesce(sum(ledger_sum_of(t.accounts, t.amounts, '{merchant_pending}'))
                        FILTER (WHERE t.available_at IS NULL OR t.available_at <= $9::timestamptz), 0) AS taken
          FROM ledger_transaction t
         WHERE t.account_id = $1::text AND t.livemode = $2::boolean AND t.currency = $4::text AND t.id >= reported.later_from
           AND NOT EXISTS (SELECT FROM settlement_line l
                            WHERE l.account_id = t.account_id AND l.livemode = t.livemode AND l.ledger_transaction = t.id)) AS since
 WHERE -(reported.available + since.available) - greatest(since.taken, 0) >= $6::bigint;

-- find_payout
-- One payout.
SELECT p.account_id, p.livemode, p.id, p.currency, p.day, p.amount, p.status, p.arrival_at, p.created_at, p.automatic, p.description,
       p.statement_descriptor, p.metadata::text AS metadata
  FROM payout p
 WHERE p.account_id = $1::text AND p.livemode = $2::boolean AND p.id = $3::text;

-- cancel_payout
-- Call a payout off, if it is one that the merchant asked for and has not ended.
UPDATE payout p
   SET status = 'canceled'
 WHERE p.account_id = $1::text AND p.livemode = $2::boolean AND p.id = $3::text AND p.status = 'pending' AND NOT p.automatic;

-- payouts_in_no_report
-- What payouts have taken from what is available, and are in no report yet: those that the merchant asked for after the day's end,
-- while it was not closed.
SELECT coalesce(sum(ledger_sum_of(t.accounts, t.amounts, '{merchant_available}')), 0)::bigint AS paid_out
  FROM ledger_transaction t
 WHERE t.account_id = $1::text AND t.livemode = $2::boolean AND t.currency = $3::text AND t.id >= $4::text
   AND t.kind IN ('payout', 'payout_cancel')
   AND NOT EXISTS (SELECT FROM settlement_line l
                    WHERE l.account_id = t.account_id AND l.livemode = t.livemode AND l.ledger_transaction = t.id);

-- due_payouts
-- Payouts that have arrived by now, with their balance transactions, longest due first.
SELECT p.account_id, p.livemode, p.id, t.id AS balance_transaction
  FROM payout p
  LEFT JOIN ledger_transaction t ON (t.account_id, t.livemode, t.reference) = (p.account_id, p.livemode, 'payout:' || p.id)
 WHERE p.status = 'pending' AND p.arrival_at <= $1::timestamptz
 ORDER BY p.arrival_at, p.account_id, p.id
 LIMIT $2::int;

-- end_payouts
-- Payouts are paid or have failed, each once.
UPDATE payout p
   SET status = n.status
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::text[]) AS n(account_id, livemode, id, status)
 WHERE (p.account_id, p.livemode, p.id) = (n.account_id, n.livemode, n.id) AND p.status = 'pending'
RETURNING p.account_id, p.livemode, p.id, p.currency, p.day, p.amount, p.status, p.arrival_at, p.created_at, p.automatic, p.description,
          p.statement_descriptor, p.metadata::text AS metadata, p.trace;
