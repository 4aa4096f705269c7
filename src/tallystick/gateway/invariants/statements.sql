-- owners
-- The accounts whose rules are checked, in pages: the next ones after an id.
SELECT a.account_id AS owner_id FROM account a WHERE a.account_id > $1::text ORDER BY a.account_id LIMIT $2::int;

-- one_charge_for_a_payment
-- At most one approved charge, and what was captured of it is what the payment received.
SELECT p.id AS subject, 'received ' || p.amount_received || ', captured ' || sum(c.amount_captured) || ' by ' || count(*) AS detail
  FROM payment_intent p
  JOIN charge c ON (c.account_id, c.livemode, c.payment_intent) = (p.account_id, p.livemode, p.id)
 WHERE p.account_id = $1::text AND p.id >= $2::text AND c.state = 'approved'
 GROUP BY p.account_id, p.livemode, p.id, p.amount_received
HAVING count(*) > 1 OR sum(c.amount_captured) <> p.amount_received
 ORDER BY p.id;

-- money_has_a_payment
-- A charge that stands approved belongs to a payment that says so, or was voided.
SELECT c.id AS subject, c.state || ', its payment is ' || p.status AS detail
  FROM payment_intent p
  JOIN charge c ON (c.account_id, c.livemode, c.payment_intent) = (p.account_id, p.livemode, p.id)
 WHERE p.account_id = $1::text AND p.id >= $2::text AND c.state = 'approved' AND c.voided_at IS NULL
   AND p.status NOT IN ('succeeded', 'requires_capture')
 ORDER BY c.id;

-- payment_has_money
-- A payment that succeeded has an approved charge and received something.
SELECT p.id AS subject, 'succeeded with ' || p.amount_received AS detail
  FROM payment_intent p
 WHERE p.account_id = $1::text AND p.id >= $2::text AND p.status = 'succeeded'
   AND (p.amount_received = 0 OR NOT EXISTS (
        SELECT FROM charge c
         WHERE (c.account_id, c.livemode, c.payment_intent) = (p.account_id, p.livemode, p.id) AND c.state = 'approved'))
 ORDER BY p.id;

-- sessions_and_payments_agree
-- A session is open, complete or expired as its payment says.
SELECT s.id AS subject, s.status || ' and ' || s.payment_status || ', its payment is ' || p.status AS detail
  FROM payment_intent p
  JOIN checkout_session s ON (s.account_id, s.livemode, s.id) = (p.account_id, p.livemode, p.checkout_session)
 WHERE p.account_id = $1::text AND p.id >= $2::text
   AND CASE s.status WHEN 'open' THEN p.status IN ('succeeded', 'canceled', 'requires_capture')
                     WHEN 'expired' THEN p.status <> 'canceled'
                     ELSE p.status NOT IN ('succeeded', 'requires_capture', 'canceled') END
 ORDER BY s.id;

-- no_payment_leaves_its_end
-- What has succeeded was not canceled before or after, and has succeeded once.
SELECT e.object_id AS subject, string_agg(e.type, ' ' ORDER BY e.id) AS detail
  FROM event e
 WHERE e.account_id = $1::text AND e.id >= $2::text AND e.type IN ('payment_intent.succeeded', 'payment_intent.canceled')
 GROUP BY e.account_id, e.livemode, e.object_id
HAVING count(*) > 1
 ORDER BY e.object_id;

-- ledger_follows_payments
-- What the ledger owes the merchant for a payment's charges, captures and voids, and took for it as a fee, is what they captured
-- and did not give back.
SELECT p.id AS subject, 'ledger ' || l.owed || ', captured ' || c.captured AS detail
  FROM payment_intent p
 CROSS JOIN LATERAL (
        SELECT coalesce(sum(leg.amount), 0) AS owed
          FROM ledger_transaction t, unnest(t.accounts, t.amounts) AS leg(account, amount)
         WHERE (t.account_id, t.livemode, t.payment_intent) = (p.account_id, p.livemode, p.id)
           AND t.kind IN ('charge', 'capture', 'void') AND leg.account IN ('merchant_pending', 'fee_revenue')) AS l
 CROSS JOIN LATERAL (
        SELECT coalesce(sum(c.amount_captured), 0) AS captured
          FROM charge c
         WHERE (c.account_id, c.livemode, c.payment_intent) = (p.account_id, p.livemode, p.id)
           AND c.state IN ('approved', 'reversing')) AS c
 WHERE p.account_id = $1::text AND p.id >= $2::text AND l.owed <> -c.captured
 ORDER BY p.id;

-- refunds_are_within_the_capture
-- What a charge says of its refunds is what they say, and never more than was captured, but for what the acquirer told of all the
-- same (it has a case).
SELECT c.id AS subject, 'captured ' || c.amount_captured || ', refunded ' || c.amount_refunded || ' and ' || c.refund_pending
       || ' pending; its refunds say ' || r.succeeded || ' and ' || r.pending AS detail
  FROM payment_intent p
  JOIN charge c ON (c.account_id, c.livemode, c.payment_intent) = (p.account_id, p.livemode, p.id)
 CROSS JOIN LATERAL (
        SELECT coalesce(sum(f.amount) FILTER (WHERE f.status = 'succeeded'), 0) AS succeeded,
               coalesce(sum(f.amount) FILTER (WHERE f.status = 'pending'), 0) AS pending,
               coalesce(sum(f.amount) FILTER (WHERE f.over_refunded AND f.status = 'succeeded'), 0) AS over
          FROM refund f
         WHERE f.account_id = p.account_id AND f.livemode = p.livemode AND f.payment_intent = p.id AND f.charge = c.id) AS r
 WHERE p.account_id = $1::text AND p.id >= $2::text
   AND (c.amount_refunded + c.refund_pending > c.amount_captured + r.over OR c.amount_refunded <> r.succeeded OR c.refund_pending <> r.pending)
 ORDER BY c.id;

-- ledger_follows_refunds
-- What the ledger took back from the merchant for a payment is what its refunds took and did not fail to give. A failed refund of a
-- reversed charge is the return of a late approval that came back: the return stands in the ledger as a void.
SELECT p.id AS subject, 'ledger ' || l.taken || ', refunds ' || r.refunded AS detail
  FROM payment_intent p
 CROSS JOIN LATERAL (
        SELECT coalesce(sum(leg.amount), 0) AS taken
          FROM ledger_transaction t, unnest(t.accounts, t.amounts) AS leg(account, amount)
         WHERE (t.account_id, t.livemode, t.payment_intent) = (p.account_id, p.livemode, p.id)
           AND t.kind IN ('refund', 'refund_paid', 'refund_failure') AND leg.account = 'merchant_pending') AS l
 CROSS JOIN LATERAL (
        SELECT coalesce(sum(CASE WHEN f.status NOT IN ('failed', 'canceled') THEN f.amount WHEN c.state = 'reversed' THEN -f.amount END), 0) AS refunded
          FROM refund f
          JOIN charge c ON (c.account_id, c.livemode, c.id) = (f.account_id, f.livemode, f.charge)
         WHERE (f.account_id, f.livemode, f.payment_intent) = (p.account_id, p.livemode, p.id)) AS r
 WHERE p.account_id = $1::text AND p.id >= $2::text AND l.taken <> r.refunded
 ORDER BY p.id;

-- disputes_are_withheld
-- What a charge withholds for disputes is what those that are open or lost took.
SELECT c.id AS subject, 'withholds ' || c.dispute_withheld || ', its disputes ' || d.withheld AS detail
  FROM payment_intent p
  JOIN charge c ON (c.account_id, c.livemode, c.payment_intent) = (p.account_id, p.livemode, p.id)
 CROSS JOIN LATERAL (
        SELECT coalesce(sum(d.amount), 0) AS withheld
          FROM dispute d
         WHERE d.account_id = p.account_id AND d.livemode = p.livemode AND d.payment_intent = p.id AND d.charge = c.id
           AND d.status <> 'won') AS d
 WHERE p.account_id = $1::text AND p.id >= $2::text AND c.dispute_withheld <> d.withheld
 ORDER BY c.id;

-- clearing_accounts_hold_what_is_open
-- What lies in the clearing accounts is what is on its way: pending refunds, open disputes. It is what the last report came to, and what
-- stands in none yet: the ledger is not read from its beginning.
SELECT b.currency AS subject, 'refund_clearing ' || l.refunds || ' for ' || r.pending || ', dispute_clearing ' || l.disputes || ' for '
       || d.open AS detail
  FROM balance_account b
  LEFT JOIN LATERAL (
        SELECT r.balances, r.later_from
          FROM settlement_report r
         WHERE (r.account_id, r.livemode, r.currency) = (b.account_id, b.livemode, b.currency)
         ORDER BY r.account_id DESC, r.livemode DESC, r.currency DESC, r.sequence DESC, r.revision DESC
         LIMIT 1) AS s ON true
 CROSS JOIN LATERAL (
        SELECT coalesce((s.balances->>'refund_clearing')::bigint, 0)
               + coalesce(sum(ledger_sum_of(t.accounts, t.amounts, '{refund_clearing}')), 0) AS refunds,
               coalesce((s.balances->>'dispute_clearing')::bigint, 0)
               + coalesce(sum(ledger_sum_of(t.accounts, t.amounts, '{dispute_clearing}')), 0) AS disputes
          FROM ledger_transaction t
         WHERE t.account_id = b.account_id AND t.livemode = b.livemode AND t.currency = b.currency
           AND t.id >= coalesce(s.later_from, '')
           AND NOT EXISTS (SELECT FROM settlement_line l
                            WHERE l.account_id = t.account_id AND l.livemode = t.livemode AND l.ledger_transaction = t.id)) AS l
 CROSS JOIN LATERAL (
        SELECT coalesce(sum(f.amount), 0) AS pending
          FROM refund f
         WHERE f.account_id = b.account_id AND f.livemode = b.livemode AND f.currency = b.currency AND f.status = 'pending') AS r
 CROSS JOIN LATERAL (
        SELECT coalesce(sum(d.amount), 0) AS open
          FROM dispute d
         WHERE d.account_id = b.account_id AND d.livemode = b.livemode AND d.currency = b.currency
           AND d.status IN ('needs_response', 'under_review')) AS d
 WHERE b.account_id = $1::text AND b.currency >= $2::text AND (l.refunds <> -r.pending OR l.disputes <> -d.open)
 ORDER BY b.livemode, b.currency;

-- ledger_sums_to_zero
-- Every transaction of the ledger takes from somewhere what it gives.
SELECT t.id AS subject, t.kind || ' sums to ' || ledger_sum(t.amounts) AS detail
  FROM ledger_transaction t
 WHERE t.account_id = $1::text AND t.id >= $2::text AND ledger_sum(t.amounts) <> 0
 ORDER BY t.id;

-- reports_are_their_lines
-- A settlement report says what its lines come to, unless it is wrong on purpose.
SELECT s.id AS subject, 'says ' || s.lines || ' lines, net ' || s.net || '; they are ' || l.lines || ', net ' || l.net AS detail
  FROM settlement_report s
 CROSS JOIN LATERAL (
        SELECT count(*) AS lines, coalesce(sum(l.net), 0) AS net
          FROM settlement_line l
         WHERE (l.account_id, l.livemode, l.currency, l.day) = (s.account_id, s.livemode, s.currency, s.day)
           AND l.kind NOT IN ('refund_paid', 'dispute_lost', 'release', 'payout_paid')) AS l
 WHERE s.account_id = $1::text AND s.id >= $2::text AND s.faults = '[]' AND (s.lines <> l.lines OR s.net <> l.net)
 ORDER BY s.id;

-- reports_are_chained
-- A settlement report opens with what the one before it had closed with when it was written.
SELECT s.id AS subject, 'opens with ' || s.opening || ', before it ' || coalesce(b.closing::text, 'is nothing') AS detail
  FROM settlement_report s
  LEFT JOIN LATERAL (
        SELECT r.closing
          FROM settlement_report r
         WHERE (r.account_id, r.livemode, r.currency, r.sequence) = (s.account_id, s.livemode, s.currency, s.sequence - 1)
           AND r.created_at <= s.created_at
         ORDER BY r.revision DESC
         LIMIT 1) AS b ON true
 WHERE s.account_id = $1::text AND s.id >= $2::text
   AND CASE WHEN s.sequence = 1 THEN s.opening <> 0 ELSE b.closing IS NULL OR b.closing <> s.opening END
 ORDER BY s.id;

-- reports_close_with_the_balance
-- A settlement report closes with what the ledger owes the merchant, unless one was wrong on purpose.
SELECT s.id AS subject, 'closes with ' || s.closing || ', the ledger owes ' || b.owed AS detail
  FROM settlement_report s
 CROSS JOIN LATERAL (
        SELECT -coalesce((s.balances->>'merchant_pending')::bigint, 0) - coalesce((s.balances->>'merchant_available')::bigint, 0) AS owed) AS b
 WHERE s.account_id = $1::text AND s.id >= $2::text AND s.closing <> b.owed
   AND NOT EXISTS (SELECT FROM settlement_report f
                    WHERE (f.account_id, f.livemode, f.currency) = (s.account_id, s.livemode, s.currency) AND f.faults <> '[]')
 ORDER BY s.id;

-- nothing_is_left_out_of_reports
-- What was posted before the end of the last report but one is in a report: late is in the next, and that is closed too.
SELECT t.id AS subject, 'of ' || t.effective_at || ' is in no report' AS detail
  FROM ledger_transaction t
 WHERE t.account_id = $1::text AND t.id >= $2::text
   AND t.effective_at < (SELECT r.ends_at
                           FROM settlement_report r
                          WHERE (r.account_id, r.livemode, r.currency) = (t.account_id, t.livemode, t.currency) AND r.revision = 1
                          ORDER BY r.sequence DESC OFFSET 1 LIMIT 1)
   AND NOT EXISTS (SELECT FROM settlement_line l
                    WHERE (l.account_id, l.livemode, l.ledger_transaction) = (t.account_id, t.livemode, t.id))
 ORDER BY t.id;

-- every_event_is_delivered_held_or_dead
-- No delivery has been due for an hour without anybody who tries it.
SELECT d.id AS subject, 'of ' || d.message || ' is due since ' || d.due_at || ' after ' || d.tries || ' tries' AS detail
  FROM delivery d
 WHERE d.owner_id = $1::text AND d.id >= $2::text AND d.state = 'due'
   AND greatest(d.due_at, coalesce(d.lease_until, d.due_at)) < $3::timestamptz - interval '1 hour'
 ORDER BY d.id;

-- no_call_stays_unfinished
-- No idempotency key that reached outside is still running a day after its lease.
SELECT k.key AS subject, 'running since ' || k.created_at AS detail
  FROM idempotency_key k
 WHERE k.owner_id = $1::text AND k.key >= $2::text AND k.state = 'running' AND k.recovery IS NOT NULL
   AND k.lease_until < $3::timestamptz - interval '1 day'
 ORDER BY k.mode, k.key;

-- no_outcome_is_forgotten
-- Whose outcome at the acquirer is not known is asked about: no such charge or request has been due for an hour.
SELECT o.id AS subject, o.state || ', due since ' || o.due_at AS detail
  FROM (SELECT c.id, c.state, greatest(coalesce(c.due_at, c.created_at), coalesce(c.lease_until, c.created_at)) AS due_at
          FROM charge c
         WHERE c.account_id = $1::text AND c.state IN ('created', 'sent', 'unknown')
        UNION ALL
        SELECT r.id, r.state, greatest(coalesce(r.due_at, r.created_at), coalesce(r.lease_until, r.created_at))
          FROM acquirer_request r
         WHERE r.account_id = $1::text AND r.state IN ('created', 'sent', 'unknown')) AS o
 WHERE o.id >= $2::text AND o.due_at < $3::timestamptz - interval '1 hour'
 ORDER BY o.id;

-- held_deliveries_have_a_reason
-- What is held waits for an endpoint that is disabled, or the keeper looks after it: else nobody would ever release it.
SELECT d.id AS subject, 'of ' || d.message || ' is held (' || coalesce(d.reason, '') || '), its endpoint is enabled' AS detail
  FROM delivery d
  JOIN webhook_endpoint e ON (e.account_id, e.livemode, e.id) = (d.owner_id, d.livemode, d.endpoint) AND e.status = 'enabled' AND e.deleted_at IS NULL
 WHERE d.owner_id = $1::text AND d.id >= $2::text AND d.state = 'held'
   AND NOT EXISTS (SELECT FROM endpoint_health h
                    WHERE (h.owner_id, h.livemode, h.endpoint) = (d.owner_id, d.livemode, d.endpoint) AND h.keep_at IS NOT NULL)
 ORDER BY d.id;

-- payments_for_comparison
-- Every payment that names an order, for whoever compares both halves.
SELECT p.id AS intent, p.metadata->>'order_id' AS order_id, (p.metadata->>'attempt')::int AS attempt, p.status, p.canceled_at,
       p.amount_received AS received,
       coalesce((SELECT sum(c.amount_refunded + c.refund_pending)::bigint FROM charge c
                  WHERE (c.account_id, c.livemode, c.payment_intent) = (p.account_id, p.livemode, p.id)), 0) AS returned,
       EXISTS (SELECT FROM charge c
                WHERE (c.account_id, c.livemode, c.payment_intent) = (p.account_id, p.livemode, p.id)
                  AND c.state IN ('created', 'sent', 'unknown', 'reversing')) AS busy
  FROM payment_intent p
 WHERE p.account_id = $1::text AND p.id >= $2::text AND p.metadata->>'order_id' IS NOT NULL
 ORDER BY p.id;
