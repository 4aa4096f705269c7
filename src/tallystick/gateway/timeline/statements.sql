-- find_owner
-- Of these accounts the one that has an object with this id, in which mode, and which payment intent and session it belongs to.
SELECT f.account_id, f.livemode, f.payment_intent, f.checkout_session
  FROM unnest($1::text[]) AS a(account_id)
 CROSS JOIN (VALUES (false), (true)) AS m(livemode)
  JOIN LATERAL (
       SELECT p.account_id, p.livemode, p.id AS payment_intent, p.checkout_session
         FROM payment_intent p WHERE p.account_id = a.account_id AND p.livemode = m.livemode AND p.id = $2::text
       UNION ALL
       SELECT s.account_id, s.livemode, s.payment_intent, s.id
         FROM checkout_session s WHERE s.account_id = a.account_id AND s.livemode = m.livemode AND s.id = $2::text
       UNION ALL
       SELECT c.account_id, c.livemode, c.payment_intent, NULL
         FROM charge c WHERE c.account_id = a.account_id AND c.livemode = m.livemode AND c.id = $2::text
       UNION ALL
       SELECT r.account_id, r.livemode, r.payment_intent, NULL
         FROM refund r WHERE r.account_id = a.account_id AND r.livemode = m.livemode AND r.id = $2::text
       UNION ALL
       SELECT d.account_id, d.livemode, d.payment_intent, NULL
         FROM dispute d WHERE d.account_id = a.account_id AND d.livemode = m.livemode AND d.id = $2::text
       UNION ALL
       SELECT q.account_id, q.livemode, q.payment_intent, NULL
         FROM acquirer_request q WHERE q.account_id = a.account_id AND q.livemode = m.livemode AND q.id = $2::text
       ) AS f ON true
 WHERE f.account_id = a.account_id
 ORDER BY f.account_id, f.livemode
 LIMIT 1;

-- object_of_event
-- Of these accounts the one that has this event, and the object that it is about.
SELECT e.account_id, e.object_id
  FROM unnest($1::text[]) AS a(account_id)
 CROSS JOIN (VALUES (false), (true)) AS m(livemode)
  JOIN event e ON e.account_id = a.account_id AND e.livemode = m.livemode AND e.id = $2::text
 ORDER BY e.account_id
 LIMIT 1;

-- summary
-- How a payment stands; of a session that nobody has paid by yet, how that stands; and how a merchant of ours knows it.
SELECT coalesce(p.status, s.status) AS state, coalesce(p.amount, s.amount_total) AS amount_minor,
       coalesce(p.currency, s.currency) AS currency,
       coalesce(p.metadata ->> 'order_id', s.metadata ->> 'order_id', s.client_reference_id) AS order_id
  FROM (VALUES ($1::text, $2::boolean)) AS o(account_id, livemode)
  LEFT JOIN payment_intent p ON (p.account_id, p.livemode, p.id) = (o.account_id, o.livemode, $3::text)
  LEFT JOIN checkout_session s ON (s.account_id, s.livemode, s.id) = (o.account_id, o.livemode, $4::text);

-- objects_of_payment
-- The ids of everything that belongs to a payment, or to a session that nobody has paid by yet.
SELECT o.kind, o.id
  FROM (SELECT 'session' AS kind, s.id
          FROM checkout_session s
         WHERE s.account_id = $1::text AND s.livemode = $2::boolean AND s.payment_intent = $3::text
        UNION SELECT 'session', s.id
          FROM checkout_session s WHERE s.account_id = $1::text AND s.livemode = $2::boolean AND s.id = $4::text
        UNION ALL
        SELECT 'charge', c.id
          FROM charge c WHERE c.account_id = $1::text AND c.livemode = $2::boolean AND c.payment_intent = $3::text
        UNION ALL
        SELECT 'request', q.id
          FROM acquirer_request q
         WHERE q.account_id = $1::text AND q.livemode = $2::boolean AND q.payment_intent = $3::text
        UNION ALL
        SELECT 'refund', r.id
          FROM refund r WHERE r.account_id = $1::text AND r.livemode = $2::boolean AND r.payment_intent = $3::text
        UNION ALL
        SELECT 'dispute', d.id
          FROM dispute d WHERE d.account_id = $1::text AND d.livemode = $2::boolean AND d.payment_intent = $3::text
        UNION ALL
        SELECT 'case', k.id
          FROM cases k WHERE k.account_id = $1::text AND k.livemode = $2::boolean AND k.payment_intent = $3::text) AS o
 ORDER BY o.id
 LIMIT $5::int;

-- events_of_objects
-- The events about these objects: what is delivered, and under which keys it was asked for.
SELECT e.id, e.type, e.idempotency_key
  FROM unnest($3::text[]) AS o(id)
  JOIN event e ON e.account_id = $1::text AND e.livemode = $2::boolean AND e.object_id = o.id
 ORDER BY e.id
 LIMIT $4::int;

-- tell_events
-- What the gateway told about these objects, behind a place; how long charges took.
SELECT h.at, h.place, h.kind, h.subject, h.reference, NULL::text AS by, h.now, h.took_ms, 0 AS more, h.details
  FROM (SELECT e.created_at AS at, '40:' || e.id AS place, 'event.' || e.type AS kind, e.object_id AS subject, e.id AS reference,
               CASE WHEN e.type NOT LIKE 'charge.%' OR e.type LIKE 'charge.dispute.%' THEN e.object::jsonb ->> 'status' END AS now,
               CASE WHEN e.type IN ('charge.succeeded', 'charge.failed') AND e.created_at >= c.created_at
                    THEN (extract(epoch FROM e.created_at - c.created_at) * 1000)::bigint END AS took_ms,
               jsonb_build_object(
                   'currency', e.object::jsonb ->> 'currency',
                   'amount_minor', CASE WHEN e.type = 'charge.refunded' THEN e.object::jsonb -> 'amount_refunded'
                                        ELSE coalesce(e.object::jsonb -> 'amount', e.object::jsonb -> 'amount_total') END,
                   'code', CASE WHEN e.type = 'payment_intent.canceled' THEN e.object::jsonb ->> 'cancellation_reason'
                                WHEN e.type LIKE 'payment_intent.%'
                                THEN coalesce(e.object::jsonb #>> '{last_payment_error,decline_code}',
                                              e.object::jsonb #>> '{last_payment_error,code}')
                                ELSE coalesce(c.decline_code, e.object::jsonb ->> 'failure_code', e.object::jsonb ->> 'failure_reason',
                                              e.object::jsonb ->> 'reason') END) AS details
          FROM unnest($3::text[]) AS o(id)
          JOIN event e ON e.account_id = $1::text AND e.livemode = $2::boolean AND e.object_id = o.id
          LEFT JOIN charge c ON (c.account_id, c.livemode, c.id) = (e.account_id, e.livemode, e.object_id)) AS h
 WHERE (h.at, h.place) > ($4::timestamptz, $5::text)
 ORDER BY h.at, h.place
 LIMIT $6::int;

-- tell_charges
-- Sessions that opened and charges that were begun, released, or are for a person to look at; behind a place.
SELECT h.at, h.place, h.kind, h.subject, h.reference, NULL::text AS by, NULL::text AS now, NULL::int AS took_ms, 0 AS more, h.details
  FROM (SELECT s.created_at AS at, '20:' || s.id AS place, 'session.opened' AS kind, s.id AS subject, NULL::text AS reference,
               jsonb_build_object('amount_minor', s.amount_total, 'currency', s.currency) AS details
          FROM unnest($3::text[]) AS o(id)
          JOIN checkout_session s ON s.account_id = $1::text AND s.livemode = $2::boolean AND s.id = o.id
        UNION ALL
        SELECT v.at, v.rank || c.id || v.kind, v.kind, c.id, c.acquirer_reference,
               jsonb_build_object('amount_minor', c.amount, 'currency', c.currency, 'brand', m.brand, 'last4', m.last4,
                   'inquiries', c.inquiries)
          FROM unnest($3::text[]) AS o(id)
          JOIN charge c ON c.account_id = $1::text AND c.livemode = $2::boolean AND c.id = o.id
          LEFT JOIN payment_method m ON (m.account_id, m.livemode, m.id) = (c.account_id, c.livemode, c.payment_method)
         CROSS JOIN LATERAL (VALUES
               ('30:', c.created_at, CASE c.state WHEN 'authenticating' THEN 'charge.authenticating'
                                                  WHEN 'abandoned' THEN 'charge.abandoned'
                                                  WHEN 'unknown' THEN 'charge.unknown'
                                                  ELSE 'charge.made' END),
               ('55:', c.voided_at, 'charge.voided'),
               ('80:', c.case_at, 'charge.case')) AS v(rank, at, kind)
         WHERE v.at IS NOT NULL) AS h
 WHERE (h.at, h.place) > ($4::timestamptz, $5::text)
 ORDER BY h.at, h.place
 LIMIT $6::int;

-- tell_requests
-- Captures, releases and refunds that the bank was asked for, and outcomes that operators found out; behind a place.
SELECT h.at, h.place, h.kind, h.subject, h.reference, h.by, NULL::text AS now, NULL::int AS took_ms, 0 AS more, h.details
  FROM (SELECT v.at, v.rank || q.id AS place, v.kind, q.id AS subject, q.acquirer_reference AS reference, NULL::text AS by,
               jsonb_build_object('amount_minor', q.amount, 'currency', c.currency,
                   'state', concat_ws(' ', q.state, CASE WHEN q.state = 'refused' THEN q.refusal END)) AS details
          FROM unnest($3::text[]) AS o(id)
          JOIN acquirer_request q ON q.account_id = $1::text AND q.livemode = $2::boolean AND q.id = o.id
          LEFT JOIN charge c ON (c.account_id, c.livemode, c.id) = (q.account_id, q.livemode, q.charge)
         CROSS JOIN LATERAL (VALUES ('30:', q.created_at, 'request.' || q.kind), ('80:', q.case_at, 'request.case')) AS v(rank, at, kind)
         WHERE v.at IS NOT NULL
        UNION ALL
        SELECT f.created_at, '85:' || f.id, 'outcome.resolved', f.object, f.reference, f.operator, jsonb_build_object('outcome', f.outcome)
          FROM unnest($3::text[]) AS o(id)
          JOIN outcome_resolution f ON f.account_id = $1::text AND f.livemode = $2::boolean AND f.object = o.id) AS h
 WHERE (h.at, h.place) > ($4::timestamptz, $5::text)
 ORDER BY h.at, h.place
 LIMIT $6::int;

-- tell_cases
-- Cases that were opened and closed, behind a place.
SELECT h.at, h.place, h.kind, h.subject, NULL::text AS reference, h.by, NULL::text AS now, NULL::int AS took_ms, 0 AS more, h.details
  FROM (SELECT v.at, v.rank || k.id AS place, v.kind, k.id AS subject, v.by, jsonb_build_object('case', replace(k.kind, '_', ' ')) AS details
          FROM unnest($3::text[]) AS o(id)
          JOIN cases k ON k.account_id = $1::text AND k.livemode = $2::boolean AND k.id = o.id
         CROSS JOIN LATERAL (VALUES ('80:', k.opened_at, 'case.opened', NULL), ('88:', k.closed_at, 'case.closed', k.operator))
               AS v(rank, at, kind, by)
         WHERE v.at IS NOT NULL) AS h
 WHERE (h.at, h.place) > ($4::timestamptz, $5::text)
 ORDER BY h.at, h.place
 LIMIT $6::int;

-- tell_calls
-- Calls under these idempotency keys, behind a place; keys are dropped after three days. A key is a caller's word, so no place shows it.
SELECT h.at, h.place, h.kind, h.subject, h.reference, NULL::text AS by, NULL::text AS now, NULL::int AS took_ms, 0 AS more, h.details
  FROM (SELECT k.created_at AS at, '10:' || encode(sha256(convert_to(k.key, 'UTF8')), 'hex') AS place, 'call.' || k.state AS kind, NULL::text AS subject, k.key AS reference,
               jsonb_build_object('key', k.key, 'status', k.status) AS details
          FROM unnest($3::text[]) AS wanted(key)
          JOIN idempotency_key k ON k.owner_id = $1::text AND k.mode = CASE WHEN $2::boolean THEN 'live' ELSE 'test' END
               AND k.key = wanted.key) AS h
 WHERE (h.at, h.place) > ($4::timestamptz, $5::text)
 ORDER BY h.at, h.place
 LIMIT $6::int;

-- tell_money
-- What was posted for these causes, where it stands on a settlement report, and the payout that it is part of; behind a place.
WITH booked AS (
    SELECT t.account_id, t.livemode, t.id, t.kind, t.reference, t.currency, t.created_at,
           -ledger_sum_of(t.accounts, t.amounts, '{fee_revenue}') AS fee,
           (SELECT max(abs(leg.amount)) FROM unnest(t.accounts, t.amounts) AS leg(account, amount)
             WHERE leg.account NOT IN ('merchant_pending', 'merchant_available', 'fee_revenue')) AS amount
      FROM unnest($3::text[]) AS o(reference)
      JOIN ledger_transaction t ON t.account_id = $1::text AND t.livemode = $2::boolean AND t.reference = o.reference
), lines AS (
    SELECT b.amount, b.currency, l.ledger_transaction, l.day, l.number, l.kind, l.fee, l.payout, r.id AS report, r.created_at
      FROM booked b
      JOIN settlement_line l ON (l.account_id, l.livemode, l.ledger_transaction) = (b.account_id, b.livemode, b.id)
      JOIN settlement_report r ON (r.account_id, r.livemode, r.currency, r.day, r.revision) = (l.account_id, l.livemode, l.currency, l.day, 1)
)
SELECT h.at, h.place, h.kind, h.subject, h.reference, NULL::text AS by, NULL::text AS now, NULL::int AS took_ms, 0 AS more, h.details
  FROM (SELECT b.created_at AS at, '50:' || b.id AS place, 'ledger.' || b.kind AS kind, b.id AS subject, b.reference,
               jsonb_build_object('amount_minor', b.amount, 'fee_minor', b.fee, 'currency', b.currency) AS details
          FROM booked b
        UNION ALL
        SELECT l.created_at, '52:' || l.ledger_transaction, 'settled', l.ledger_transaction, l.report,
               jsonb_build_object('amount_minor', l.amount, 'fee_minor', l.fee, 'currency', l.currency, 'day', l.day, 'number', l.number,
                   'entry', l.kind)
          FROM lines l
        UNION ALL
        SELECT p.created_at, '54:' || p.id, 'payout.made', p.id, NULL, jsonb_build_object('payout', p.id)
          FROM (SELECT DISTINCT l.payout FROM lines l) AS l
          JOIN payout p ON p.account_id = $1::text AND p.livemode = $2::boolean AND p.id = l.payout
        UNION ALL
        SELECT e.created_at, '55:' || e.id, e.type, e.object_id, e.id, jsonb_build_object('payout', e.object_id)
          FROM (SELECT DISTINCT l.payout FROM lines l) AS l
          JOIN event e ON e.account_id = $1::text AND e.livemode = $2::boolean AND e.object_id = l.payout
         WHERE e.type IN ('payout.paid', 'payout.failed')) AS h
 WHERE (h.at, h.place) > ($4::timestamptz, $5::text)
 ORDER BY h.at, h.place
 LIMIT $6::int;

-- next_of_payment
-- What is to happen next by itself to these objects, the earliest first.
SELECT n.at, n.kind, n.subject, n.details
  FROM (SELECT s.expires_at AS at, 'due.session' AS kind, s.id AS subject, '{}'::jsonb AS details
          FROM unnest($3::text[]) AS o(id)
          JOIN checkout_session s ON s.account_id = $1::text AND s.livemode = $2::boolean AND s.id = o.id AND s.status = 'open'
        UNION ALL
        SELECT p.capture_before_at, 'due.capture', p.id, '{}'
          FROM unnest($3::text[]) AS o(id)
          JOIN payment_intent p ON p.account_id = $1::text AND p.livemode = $2::boolean AND p.id = o.id AND p.status = 'requires_capture'
        UNION ALL
        SELECT coalesce(c.due_at, c.created_at), 'due.charge', c.id, '{}'
          FROM unnest($3::text[]) AS o(id)
          JOIN charge c ON c.account_id = $1::text AND c.livemode = $2::boolean AND c.id = o.id
               AND c.state IN ('created', 'sent', 'unknown')
        UNION ALL
        SELECT coalesce(q.due_at, q.created_at), 'due.request', q.id, jsonb_build_object('request', q.kind)
          FROM unnest($3::text[]) AS o(id)
          JOIN acquirer_request q ON q.account_id = $1::text AND q.livemode = $2::boolean AND q.id = o.id
               AND q.state IN ('created', 'sent', 'unknown')
        UNION ALL
        SELECT v.at, v.kind, d.id, '{}'
          FROM unnest($3::text[]) AS o(id)
          JOIN dispute d ON d.account_id = $1::text AND d.livemode = $2::boolean AND d.id = o.id
         CROSS JOIN LATERAL (VALUES
               (CASE WHEN d.status = 'needs_response' THEN d.evidence_due_at END, 'due.evidence'),
               (d.contest_due_at, 'due.contest')) AS v(at, kind)) AS n
 WHERE n.at IS NOT NULL
 ORDER BY n.at, n.kind, n.subject
 LIMIT $4::int;

-- next_of_money
-- What was posted for these causes becomes available, or arrives with a payout, after a time; the earliest first.
SELECT n.at, n.kind, n.subject, n.details
  FROM (SELECT t.available_at AS at, 'due.available' AS kind, t.id AS subject,
               jsonb_build_object('currency', t.currency, 'amount_minor',
                   -ledger_sum_of(t.accounts, t.amounts, '{merchant_pending,merchant_available}')) AS details
          FROM unnest($3::text[]) AS o(reference)
          JOIN ledger_transaction t ON t.account_id = $1::text AND t.livemode = $2::boolean AND t.reference = o.reference
         WHERE t.available_at > $4::timestamptz
        UNION ALL
        SELECT DISTINCT p.arrival_at, 'due.payout', p.id, jsonb_build_object('payout', p.id)
          FROM unnest($3::text[]) AS o(reference)
          JOIN ledger_transaction t ON t.account_id = $1::text AND t.livemode = $2::boolean AND t.reference = o.reference
          JOIN settlement_line l ON (l.account_id, l.livemode, l.ledger_transaction) = (t.account_id, t.livemode, t.id)
          JOIN payout p ON (p.account_id, p.livemode, p.id) = (l.account_id, l.livemode, l.payout) AND p.status = 'pending') AS n
 ORDER BY n.at, n.kind, n.subject
 LIMIT $5::int;
