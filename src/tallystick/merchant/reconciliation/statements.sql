-- copy_lines
-- The lines of a file, as many as there are, with the code that each has when everything fits.
COPY settlement_line (merchant_id, reconciliation_id, line_id, created_at, currency, gross_minor, fee_minor, net_minor, category, source,
                      payment, charge, order_reference, payout, code) FROM STDIN;

-- find_differences
-- The payments of a day that do not fit at the first look: all lines of a payment netted, beside the orders that were paid on that
-- day. What fits is one charge, as captured, at the agreed fee, on the day itself, that no earlier file told of, and at most one refund,
-- as we know it; everything else is decided one by one (matching.decide). Set by set, in both directions.
INSERT INTO settlement_difference (merchant_id, reconciliation_id, payment)
WITH netted AS (
    SELECT l.payment, count(*) AS lines,
           count(*) FILTER (WHERE l.category = 'charge') AS charges,
           count(*) FILTER (WHERE l.category = 'refund') AS refunds,
           coalesce(sum(l.gross_minor) FILTER (WHERE l.category = 'charge'), 0)::bigint AS captured_minor,
           coalesce(-sum(l.gross_minor) FILTER (WHERE l.category = 'refund'), 0)::bigint AS refunded_minor,
           coalesce(sum(l.fee_minor) FILTER (WHERE l.category = 'charge'), 0)::bigint AS fee_minor,
           max(l.source) FILTER (WHERE l.category = 'refund') AS refund,
           min(l.currency) AS currency, min(l.created_at) AS first_at, max(l.created_at) AS last_at,
           max(l.charge) FILTER (WHERE l.category = 'charge') AS charge
      FROM settlement_line l
     WHERE l.merchant_id = $1::text AND l.reconciliation_id = $2::text AND l.payment IS NOT NULL
     GROUP BY l.payment
), contract AS (
    SELECT DISTINCT ON (f.currency) f.currency, f.basis_points, f.fixed_minor
      FROM fee_contract f
     WHERE f.merchant_id = $1::text AND f.connection_id = $3::text AND f.valid_from <= ($4::timestamptz AT TIME ZONE 'UTC')::date
     ORDER BY f.currency, f.valid_from DESC
), sold AS (
    SELECT a.payment_intent, o.currency, o.amount_captured_minor, o.amount_refunded_minor, o.overpaid, o.order_id, a.number,
           f.basis_points, f.fixed_minor
      FROM orders o
      JOIN attempt a ON (a.merchant_id, a.order_id, a.number) = (o.merchant_id, o.order_id, o.keeper)
      LEFT JOIN contract f ON f.currency = o.currency
     WHERE o.merchant_id = $1::text AND a.merchant_id = $1::text AND a.connection_id = $3::text
       AND o.paid_at >= $4::timestamptz AND o.paid_at < $5::timestamptz
       AND a.payment_intent IS NOT NULL
)
SELECT $1::text, $2::text, coalesce(n.payment, s.payment_intent)
  FROM netted n
  FULL JOIN sold s ON s.payment_intent = n.payment
 WHERE n.payment IS NULL AND s.currency = ANY($6::text[])
    OR s.payment_intent IS NULL
    OR NOT (n.charges = 1 AND n.refunds <= 1 AND n.lines = n.charges + n.refunds AND n.currency = s.currency
            AND NOT s.overpaid AND n.captured_minor = s.amount_captured_minor
            AND n.first_at >= $4::timestamptz AND n.last_at < $5::timestamptz
            AND n.refund IS DISTINCT FROM n.charge
            AND n.payment NOT IN (SELECT e.payment FROM settled_early e WHERE e.merchant_id = $1::text AND e.connection_id = $3::text)
            AND n.refunded_minor = s.amount_refunded_minor
            AND (n.refunds = 0  -- facts are looked up for the few that were refunded, and not carried along for all
                 OR (SELECT o.facts #>> ARRAY['attempts', s.number::text, 'refunds', n.refund, 'amount_minor']
                       FROM orders o
                      WHERE o.merchant_id = $1::text AND o.order_id = s.order_id) IS NOT DISTINCT FROM n.refunded_minor::text)
            AND (s.basis_points IS NULL
                 OR n.fee_minor = (n.captured_minor * s.basis_points + 5000) / 10000 + s.fixed_minor));

-- find_refunded
-- Orders that were paid before the day and changed since it began, and have refunds: whether a file has told of those is decided one
-- by one.
INSERT INTO settlement_difference (merchant_id, reconciliation_id, payment)
SELECT o.merchant_id, $2::text, a.payment_intent
  FROM orders o
 CROSS JOIN LATERAL (
       SELECT a.payment_intent FROM attempt a
        WHERE (a.merchant_id, a.order_id, a.number) = (o.merchant_id, o.order_id, o.keeper) OFFSET 0) AS a
 WHERE o.merchant_id = $1::text AND o.connection_id = $3::text AND o.amount_refunded_minor > 0
   AND o.updated_at >= $4::timestamptz AND o.paid_at < $4::timestamptz AND o.currency = ANY($5::text[])
   AND a.payment_intent IS NOT NULL
    ON CONFLICT (merchant_id, reconciliation_id, payment) DO NOTHING;

-- page_of_differences
-- The next payments that do not fit.
SELECT d.payment
  FROM settlement_difference d
 WHERE d.merchant_id = $1::text AND d.reconciliation_id = $2::text
 ORDER BY d.payment
 LIMIT $3::int;

-- lines_of_payments
-- All lines of these payments: of this run, and of earlier days of the same connection and source whose files were taken. One payment after
-- the other through the index, whatever was known of the table when the plan was made.
SELECT l.reconciliation_id = $2::text AS mine, l.line_id, l.created_at, l.currency, l.gross_minor, l.fee_minor, l.net_minor, l.category,
       l.source, l.payment, l.charge, l.order_reference, l.payout
  FROM unnest($5::text[]) AS wanted(payment)
 CROSS JOIN LATERAL (
       SELECT l.* FROM settlement_line l WHERE l.merchant_id = $1::text AND l.payment = wanted.payment OFFSET 0) AS l
  JOIN reconciliation r ON (r.merchant_id, r.reconciliation_id) = (l.merchant_id, l.reconciliation_id)
  JOIN reconciliation s ON (s.merchant_id, s.reconciliation_id) = ($1::text, $2::text)
 WHERE r.connection_id = $3::text AND r.source = s.source
   AND (l.reconciliation_id = $2::text OR (r.business_date < $4::date AND NOT r.dry_run AND NOT r.superseded AND r.state <> 'due'))
 ORDER BY l.payment, l.created_at, l.line_id, mine;

-- orders_of_payments
-- The orders that these payments belong to: by the payment where an attempt has it, else by our own reference.
SELECT wanted.payment, o.order_id, o.amount_minor, o.currency, o.state, o.facts, o.keeper, o.paid_at, a.number AS attempt
  FROM unnest($3::text[], $4::text[]) AS wanted(payment, reference)
  LEFT JOIN LATERAL (
       SELECT a.order_id, a.number FROM attempt a
        WHERE a.merchant_id = $1::text AND a.connection_id = $2::text AND a.payment_intent = wanted.payment OFFSET 0) AS a ON true
 CROSS JOIN LATERAL (
       SELECT o.* FROM orders o
        WHERE o.merchant_id = $1::text AND o.order_id = coalesce(a.order_id, wanted.reference) AND o.connection_id = $2::text
       OFFSET 0) AS o
 ORDER BY wanted.payment;

-- refunds_seen
-- When we first heard of each refund of these orders.
SELECT t.order_id, t.fact ->> 'refund' AS refund, min(t.at) AS seen_at
  FROM unnest($2::text[]) AS wanted(order_id)
  JOIN timeline t ON (t.merchant_id, t.order_id) = ($1::text, wanted.order_id)
 WHERE t.fact ->> 'fact' = 'refund_seen'
 GROUP BY t.order_id, t.fact ->> 'refund'
 ORDER BY t.order_id, t.fact ->> 'refund';

-- lines_alone
-- Lines that belong to no payment and that nobody can explain, those behind a line.
SELECT l.line_id, l.created_at, l.currency, l.gross_minor, l.fee_minor, l.net_minor, l.category, l.source, l.payment, l.charge,
       l.order_reference, l.payout
  FROM settlement_line l
 WHERE l.merchant_id = $1::text AND l.reconciliation_id = $2::text AND l.payment IS NULL AND l.code = 'unexplained_line'
   AND l.line_id > $3::text
 ORDER BY l.line_id
 LIMIT $4::int;

-- set_codes
-- The codes of lines that do not fit.
UPDATE settlement_line l
   SET code = c.code
  FROM unnest($3::text[], $4::text[]) AS c(line_id, code)
 WHERE (l.merchant_id, l.reconciliation_id, l.line_id) = ($1::text, $2::text, c.line_id) AND l.code <> c.code;

-- insert_mismatches
-- What was found; found again, it is the same.
INSERT INTO mismatch (merchant_id, reconciliation_id, code, subject, connection_id, payment, order_id, attempt, currency, amount_minor,
                      lines, resolution, state, wait_until, details, found_at)
SELECT $1::text, $2::text, m.code, m.subject, $3::text, m.payment, m.order_id, m.attempt, m.currency, m.amount_minor,
       m.lines, m.resolution, m.state, m.wait_until, m.details, $4::timestamptz
  FROM json_to_recordset($5::json) AS m(
       code text, subject text, payment text, order_id text, attempt int, currency text, amount_minor bigint, lines text[],
       resolution text, state text, wait_until date, details jsonb)
 ORDER BY m.code, m.subject
    ON CONFLICT (merchant_id, reconciliation_id, code, subject) DO NOTHING;

-- insert_early
-- Payments whose charge was told before their order was stored PAID.
INSERT INTO settled_early (merchant_id, connection_id, payment)
SELECT $1::text, $2::text, early.payment FROM unnest($3::text[]) AS early(payment)
 ORDER BY early.payment
    ON CONFLICT (merchant_id, connection_id, payment) DO NOTHING;

-- delete_differences
-- These payments are decided.
DELETE FROM settlement_difference d
 USING unnest($3::text[]) AS decided(payment)
 WHERE (d.merchant_id, d.reconciliation_id, d.payment) = ($1::text, $2::text, decided.payment);
