-- page_of_accounts
-- Accounts behind an id, of those whose name or id holds a word where one is given, each with its newest payment.
SELECT a.account_id, a.name, a.created_at, a.payout_interval,
       (SELECT i.created_at FROM payment_intent i WHERE i.account_id = a.account_id AND i.livemode AND i.id > ''
         ORDER BY i.account_id DESC, i.livemode DESC, i.id DESC LIMIT 1) AS live_at,
       (SELECT i.created_at FROM payment_intent i WHERE i.account_id = a.account_id AND NOT i.livemode AND i.id > ''
         ORDER BY i.account_id DESC, i.livemode DESC, i.id DESC LIMIT 1) AS test_at
  FROM account a
 WHERE a.account_id > $1::text AND (strpos(lower(a.name), lower($2::text)) > 0 OR strpos(a.account_id, $2::text) > 0)
 ORDER BY a.account_id
 LIMIT $3::int;

-- ids_of_accounts
-- The first accounts by id: whose rows are looked at where no account is named.
SELECT a.account_id FROM account a WHERE a.account_id > $1::text ORDER BY a.account_id LIMIT $2::int;

-- show_account
-- One account and its terms.
SELECT a.account_id, a.name, a.origins, a.default_api_version, a.several_captures, a.created_at, a.day_offset_minutes,
       a.available_days, a.payout_interval
  FROM account a
 WHERE a.account_id = $1::text;

-- terms_of_account
-- What an account is charged in each currency and mode, and which of its days is open.
SELECT b.livemode, b.currency, b.fee_basis_points, b.fee_fixed, b.dispute_fee, b.next_day, b.close_at
  FROM balance_account b
 WHERE b.account_id = $1::text
 ORDER BY b.livemode DESC, b.currency;

-- deliveries_by_hour
-- Deliveries of some accounts between two ids, which are in the order of time, by the hour after a time in which they were made, and
-- their state now.
SELECT date_bin('1 hour', d.created_at, $4::timestamptz) AS hour, d.state, count(*) AS count
  FROM unnest($1::text[]) AS owner(account_id)
  JOIN delivery d ON d.owner_id = owner.account_id AND d.id >= $2::text AND d.id < $3::text
 GROUP BY 1, 2
 ORDER BY 1, 2;

-- newest_payments
-- Payments of some accounts and modes between two ids, newest first, in one status or currency where asked for. Of each account so many
-- ($5) are looked at; `edge` is from where on all were, and stands in a row of its own where nothing fits.
WITH seen AS MATERIALIZED (
    SELECT few.*
      FROM unnest($1::text[], $2::boolean[]) AS owner(account_id, livemode)
     CROSS JOIN LATERAL (
           SELECT i.account_id, i.livemode, i.id, i.status, i.amount, i.currency, i.amount_received, i.payment_method, i.created_at
             FROM payment_intent i
            WHERE i.account_id = owner.account_id AND i.livemode = owner.livemode AND i.id < $3::text AND i.id >= $4::text
            ORDER BY i.account_id DESC, i.livemode DESC, i.id DESC
            LIMIT $5::int) AS few
), edge AS (
    SELECT coalesce(max(ends.id), '') AS id
      FROM (SELECT min(s.id) AS id FROM seen s GROUP BY s.account_id, s.livemode HAVING count(*) = $5::int) AS ends
)
SELECT edge.id AS edge, s.account_id, s.livemode, s.id, s.status, s.amount, s.currency, s.amount_received, s.created_at, m.brand, m.last4
  FROM edge
  LEFT JOIN seen s
    ON s.id >= edge.id AND ($6::text IS NULL OR s.status = $6::text) AND ($7::text IS NULL OR s.currency = $7::text)
  LEFT JOIN payment_method m ON (m.account_id, m.livemode, m.id) = (s.account_id, s.livemode, s.payment_method)
 ORDER BY s.id DESC
 LIMIT $8::int;

-- payments_by_amount
-- Payments of some accounts and modes over exactly an amount, newest first, behind an id.
SELECT i.account_id, i.livemode, i.id, i.status, i.amount, i.currency, i.amount_received, i.created_at, m.brand, m.last4
  FROM unnest($1::text[], $2::boolean[]) AS owner(account_id, livemode)
 CROSS JOIN LATERAL (
       SELECT i.*
         FROM payment_intent i
        WHERE i.account_id = owner.account_id AND i.livemode = owner.livemode AND i.currency = $5::text AND i.amount = $6::bigint
          AND i.id < $3::text AND i.id >= $4::text
        ORDER BY i.account_id DESC, i.livemode DESC, i.currency DESC, i.amount DESC, i.id DESC
        LIMIT $7::int) AS i
  LEFT JOIN payment_method m ON (m.account_id, m.livemode, m.id) = (i.account_id, i.livemode, i.payment_method)
 ORDER BY i.id DESC
 LIMIT $7::int;

-- payments_by_order
-- Payments of some accounts and modes whose metadata name an order of the shop, newest first, behind an id.
SELECT i.account_id, i.livemode, i.id, i.status, i.amount, i.currency, i.amount_received, i.created_at, m.brand, m.last4
  FROM unnest($1::text[], $2::boolean[]) AS owner(account_id, livemode)
 CROSS JOIN LATERAL (
       SELECT i.*
         FROM payment_intent i
        WHERE i.account_id = owner.account_id AND i.livemode = owner.livemode AND i.metadata->>'order_id' IS NOT NULL
          AND i.metadata->>'order_id' = $5::text AND i.id < $3::text AND i.id >= $4::text
        ORDER BY i.account_id DESC, i.livemode DESC, i.metadata->>'order_id' DESC, i.id DESC
        LIMIT $6::int) AS i
  LEFT JOIN payment_method m ON (m.account_id, m.livemode, m.id) = (i.account_id, i.livemode, i.payment_method)
 ORDER BY i.id DESC
 LIMIT $6::int;

-- payments_by_card
-- Payments of some accounts and modes that were tried with cards of these last four digits and brands, the newest card first, behind a card's id, with
-- the newest charges of a saved card. One payment for several charges stands there once for each.
SELECT i.account_id, i.livemode, i.id, i.status, i.amount, i.currency, i.amount_received, i.created_at, m.brand, m.last4, m.id AS method
  FROM unnest($1::text[], $2::boolean[]) AS owner(account_id, livemode)
 CROSS JOIN unnest($6::text[]) AS of_brand(brand)
 CROSS JOIN LATERAL (
       SELECT m.account_id, m.livemode, m.id, m.brand, m.last4
         FROM payment_method m
        WHERE m.account_id = owner.account_id AND m.livemode = owner.livemode AND m.last4 = $5::text AND m.brand = of_brand.brand
          AND m.id < $3::text AND m.id >= $4::text
        ORDER BY m.account_id DESC, m.livemode DESC, m.last4 DESC, m.brand DESC, m.id DESC
        LIMIT $7::int) AS m
 CROSS JOIN LATERAL (
       SELECT c.payment_intent
         FROM charge c
        WHERE c.account_id = m.account_id AND c.livemode = m.livemode AND c.payment_method = m.id
        ORDER BY c.account_id DESC, c.livemode DESC, c.payment_method DESC, c.id DESC
        LIMIT $8::int) AS c
  JOIN payment_intent i ON (i.account_id, i.livemode, i.id) = (m.account_id, m.livemode, c.payment_intent)
 ORDER BY m.id DESC, i.id DESC
 LIMIT $7::int;

-- payment_of_transaction
-- The payment whose money a ledger transaction moved.
SELECT t.payment_intent AS id
  FROM unnest($1::text[]) AS owner(account_id)
 CROSS JOIN unnest(ARRAY[true, false]) AS mode(livemode)
  JOIN ledger_transaction t ON t.account_id = owner.account_id AND t.livemode = mode.livemode AND t.id = $2::text
 ORDER BY t.account_id LIMIT 1;

-- payment_of_method
-- The newest payment that was tried with a payment method.
SELECT c.payment_intent AS id
  FROM unnest($1::text[]) AS owner(account_id)
 CROSS JOIN unnest(ARRAY[true, false]) AS mode(livemode)
  JOIN charge c ON c.account_id = owner.account_id AND c.livemode = mode.livemode AND c.payment_method = $2::text
 ORDER BY c.account_id, c.id DESC LIMIT 1;

-- event_of_delivery
-- The event that a delivery brings.
SELECT d.message AS id
  FROM unnest($1::text[]) AS owner(account_id)
  JOIN delivery d ON d.owner_id = owner.account_id AND d.id = $2::text
 ORDER BY d.owner_id LIMIT 1;

-- show_payment
-- One payment, without what only its shopper may know and without what its merchant wrote about people.
SELECT i.account_id, i.livemode, i.id, i.status, i.amount, i.currency, i.capture_method, i.amount_capturable, i.amount_received,
       i.latest_charge, i.cancellation_reason, i.capture_before_at, i.canceled_at, i.created_at, i.metadata->>'order_id' AS order_id,
       i.last_payment_error->>'code' AS error_code, i.last_payment_error->>'decline_code' AS error_decline_code, a.name AS account_name
  FROM payment_intent i
  JOIN account a ON a.account_id = i.account_id
 WHERE i.account_id = $1::text AND i.livemode = $2::boolean AND i.id = $3::text;

-- sessions_of_payment
-- The checkout sessions of a payment, oldest first.
SELECT s.id, s.status, s.payment_status, s.ui_mode, s.decline_count, s.expires_at, s.completed_at, s.created_at, s.client_reference_id
  FROM checkout_session s
 WHERE s.account_id = $1::text AND s.livemode = $2::boolean AND s.payment_intent = $3::text AND s.payment_intent IS NOT NULL
 ORDER BY s.id
 LIMIT $4::int;

-- charges_of_payment
-- Every charge of a payment, oldest first, with the end of its card's number.
SELECT c.id, c.state, c.amount, c.currency, c.amount_authorised, c.amount_captured, c.amount_refunded, c.refund_pending,
       c.dispute_withheld, c.acquirer_reference, c.decline_code, c.failure_code, c.voided_at, c.created_at, c.due_at, c.inquiries,
       c.case_at, m.brand, m.last4
  FROM charge c
  LEFT JOIN payment_method m ON (m.account_id, m.livemode, m.id) = (c.account_id, c.livemode, c.payment_method)
 WHERE c.account_id = $1::text AND c.livemode = $2::boolean AND c.payment_intent = $3::text
 ORDER BY c.id
 LIMIT $4::int;

-- requests_of_payment
-- Captures, voids and refunds as the acquirer was asked for them, oldest first.
SELECT r.id, r.kind, r.state, r.amount, r.charge, r.refund, r.acquirer_reference, r.refusal, r.created_at, r.due_at, r.inquiries,
       r.case_at
  FROM acquirer_request r
 WHERE r.account_id = $1::text AND r.livemode = $2::boolean AND r.payment_intent = $3::text
 ORDER BY r.id
 LIMIT $4::int;

-- refunds_of_payment
-- The refunds of a payment, oldest first.
SELECT f.id, f.charge, f.status, f.amount, f.currency, f.reason, f.failure_reason, f.over_refunded, f.created_at
  FROM refund f
 WHERE f.account_id = $1::text AND f.livemode = $2::boolean AND f.payment_intent = $3::text
 ORDER BY f.id
 LIMIT $4::int;

-- disputes_of_payment
-- The disputes of a payment, oldest first.
SELECT d.id, d.charge, d.status, d.amount, d.currency, d.reason, d.created_at, d.evidence_due_at, d.submissions
  FROM dispute d
 WHERE d.account_id = $1::text AND d.livemode = $2::boolean AND d.payment_intent = $3::text
 ORDER BY d.id
 LIMIT $4::int;

-- ledger_of_causes
-- What the ledger posted under some references, oldest first.
SELECT t.id, t.kind, t.reference, t.currency, t.accounts, t.amounts, t.effective_at, t.available_at
  FROM ledger_transaction t
 WHERE t.account_id = $1::text AND t.livemode = $2::boolean AND t.reference = ANY ($3::text[])
 ORDER BY t.id
 LIMIT $4::int;

-- events_of_objects
-- Events about some objects, oldest first.
SELECT e.id, e.type, e.object_id, e.request_id, e.idempotency_key, e.created_at
  FROM event e
 WHERE e.account_id = $1::text AND e.livemode = $2::boolean AND e.object_id = ANY ($3::text[])
 ORDER BY e.id
 LIMIT $4::int;

-- deliveries_of_events
-- To whom some events are or were delivered.
SELECT d.id, d.message, d.endpoint, d.state, d.tries, d.reason, d.due_at, d.created_at, d.finished_at
  FROM delivery d
 WHERE d.owner_id = $1::text AND d.message = ANY ($2::text[])
 ORDER BY d.message, d.endpoint
 LIMIT $3::int;

-- tries_of_deliveries
-- Every try of some deliveries, oldest first, without what the receiver said.
SELECT t.delivery, t.number, t.started_at, t.duration_ms, t.status, t.reason
  FROM delivery_attempt t
 WHERE t.owner_id = $1::text AND t.delivery = ANY ($2::text[])
 ORDER BY t.delivery, t.number
 LIMIT $3::int;

-- keys_by_name
-- How some idempotency keys stand, without the answers that are kept under them.
SELECT k.key, k.state, k.recovery IS NOT NULL AS reached_outside, k.status, k.created_at
  FROM idempotency_key k
 WHERE k.owner_id = $1::text AND k.mode = $2::text AND k.key = ANY ($3::text[])
 ORDER BY k.created_at, k.key
 LIMIT $4::int;

-- cases_of_payment
-- The cases about a payment, oldest first.
SELECT c.id, c.kind, c.state, c.amount, c.currency, c.opened_at, c.closed_at, c.note, c.operator
  FROM cases c
 WHERE c.account_id = $1::text AND c.livemode = $2::boolean AND c.payment_intent = $3::text
 ORDER BY c.id
 LIMIT $4::int;

-- page_of_endpoints
-- Endpoints behind one, of one account or with one id where named, how they stand and what waits for them, counted up to a limit ($8).
-- Never their secrets.
SELECT w.account_id, w.livemode, w.id, w.url, w.status, w.enabled_events, w.api_version, w.created_at,
       w.older_secrets_until > $7::timestamptz AS rotating, h.width, coalesce(h.failures, 0) AS failures, h.failing_since, h.reason,
       h.slowed_until, h.broken_until, due.waiting AS due, held.waiting AS held, dead.waiting AS dead
  FROM webhook_endpoint w
  LEFT JOIN endpoint_health h ON (h.owner_id, h.livemode, h.endpoint) = (w.account_id, w.livemode, w.id)
 CROSS JOIN LATERAL (
       SELECT count(*)::int AS waiting
         FROM (SELECT FROM delivery d
                WHERE (d.owner_id, d.livemode, d.endpoint) = (w.account_id, w.livemode, w.id)
                  AND d.state IN ('due', 'held', 'dead') AND d.state = 'due' AND d.due_at <= $7::timestamptz
                LIMIT $8::int) AS few) AS due
 CROSS JOIN LATERAL (
       SELECT count(*)::int AS waiting
         FROM (SELECT FROM delivery d
                WHERE (d.owner_id, d.livemode, d.endpoint) = (w.account_id, w.livemode, w.id)
                  AND d.state IN ('due', 'held', 'dead') AND d.state = 'held'
                LIMIT $8::int) AS few) AS held
 CROSS JOIN LATERAL (
       SELECT count(*)::int AS waiting
         FROM (SELECT FROM delivery d
                WHERE (d.owner_id, d.livemode, d.endpoint) = (w.account_id, w.livemode, w.id)
                  AND d.state IN ('due', 'held', 'dead') AND d.state = 'dead'
                LIMIT $8::int) AS few) AS dead
 WHERE (w.account_id, w.livemode, w.id) > ($1::text, $2::boolean, $3::text) AND w.deleted_at IS NULL
   AND (w.account_id = $4::text OR $4::text IS NULL) AND (w.id = $5::text OR $5::text IS NULL)
   AND (NOT $6::boolean OR w.status = 'disabled' OR h.failures > 0 OR h.slowed_until > $7::timestamptz
        OR h.broken_until > $7::timestamptz OR held.waiting > 0 OR dead.waiting > 0)
 ORDER BY w.account_id, w.livemode, w.id
 LIMIT $9::int;

-- newest_disputes
-- Disputes of some accounts and modes behind an id, newest first, open or decided where asked for.
SELECT d.account_id, d.livemode, d.id, d.payment_intent, d.status, d.amount, d.currency, d.reason, d.brand, d.created_at,
       d.evidence_due_at, d.submissions
  FROM unnest($1::text[], $2::boolean[]) AS owner(account_id, livemode)
 CROSS JOIN LATERAL (
       SELECT d.*
         FROM dispute d
        WHERE d.account_id = owner.account_id AND d.livemode = owner.livemode AND d.id < $3::text
          AND ($4::boolean IS NULL OR $4::boolean = (d.status IN ('needs_response', 'under_review')))
        ORDER BY d.account_id DESC, d.livemode DESC, d.id DESC
        LIMIT $5::int) AS d
 ORDER BY d.id DESC
 LIMIT $5::int;

-- newest_payouts
-- Payouts of some accounts and modes behind an id, newest first, in one status where asked for.
SELECT p.account_id, p.livemode, p.id, p.currency, p.day, p.amount, p.status, p.arrival_at, p.created_at
  FROM unnest($1::text[], $2::boolean[]) AS owner(account_id, livemode)
 CROSS JOIN LATERAL (
       SELECT p.*
         FROM payout p
        WHERE p.account_id = owner.account_id AND p.livemode = owner.livemode AND p.id < $3::text
          AND ($4::text IS NULL OR p.status = $4::text)
        ORDER BY p.account_id DESC, p.livemode DESC, p.id DESC
        LIMIT $5::int) AS p
 ORDER BY p.id DESC
 LIMIT $5::int;

-- newest_report_runs
-- Reports that some accounts asked for, newest first, behind an id.
SELECT r.account_id, r.livemode, r.id, r.report_type, r.currency, r.last_day, r.status, r.size_bytes, r.created_at, r.succeeded_at
  FROM unnest($1::text[], $2::boolean[]) AS owner(account_id, livemode)
 CROSS JOIN LATERAL (
       SELECT r.*
         FROM report_run r
        WHERE r.account_id = owner.account_id AND r.livemode = owner.livemode AND r.id < $3::text
        ORDER BY r.account_id DESC, r.livemode DESC, r.id DESC
        LIMIT $4::int) AS r
 ORDER BY r.id DESC
 LIMIT $4::int;

-- ledger_accounts
-- What lies in each account of an account's ledger, by currency: what the last report came to, and what is in none yet.
SELECT b.currency, leg.account, sum(leg.amount)::bigint AS amount
  FROM balance_account b
  LEFT JOIN LATERAL (
        SELECT r.balances, r.later_from
          FROM settlement_report r
         WHERE (r.account_id, r.livemode, r.currency) = (b.account_id, b.livemode, b.currency)
         ORDER BY r.account_id DESC, r.livemode DESC, r.currency DESC, r.sequence DESC, r.revision DESC
         LIMIT 1) AS s ON true
 CROSS JOIN LATERAL (
        SELECT reported.key AS account, reported.value::bigint AS amount
          FROM jsonb_each_text(coalesce(s.balances, '{}')) AS reported(key, value)
         UNION ALL
        SELECT posted.account, posted.amount
          FROM ledger_transaction t
         CROSS JOIN LATERAL unnest(t.accounts, t.amounts) AS posted(account, amount)
         WHERE t.account_id = b.account_id AND t.livemode = b.livemode AND t.currency = b.currency
           AND t.id >= coalesce(s.later_from, '')
           AND NOT EXISTS (SELECT FROM settlement_line l
                            WHERE l.account_id = t.account_id AND l.livemode = t.livemode AND l.ledger_transaction = t.id)) AS leg
 WHERE b.account_id = $1::text AND b.livemode = $2::boolean AND b.next_day IS NOT NULL
 GROUP BY b.currency, leg.account
 ORDER BY b.currency, leg.account;
