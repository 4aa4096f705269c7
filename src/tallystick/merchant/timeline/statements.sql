-- find_order
-- Of these merchants the one to whom an order, payment intent, webhook or case of this id belongs, and the order.
SELECT f.merchant_id, f.order_id
  FROM unnest($1::text[]) AS m(merchant_id)
  JOIN LATERAL (
       SELECT o.merchant_id, o.order_id
         FROM orders o WHERE o.merchant_id = m.merchant_id AND o.order_id = $2::text
       UNION ALL
       SELECT a.merchant_id, a.order_id
         FROM connection c
         JOIN attempt a ON a.merchant_id = m.merchant_id AND a.connection_id = c.connection_id AND a.payment_intent = $2::text
        WHERE c.merchant_id = m.merchant_id
       UNION ALL
       SELECT w.merchant_id, w.order_id
         FROM connection c
         JOIN inbox w ON w.merchant_id = m.merchant_id AND w.connection_id = c.connection_id AND w.event_id = $2::text
        WHERE c.merchant_id = m.merchant_id
       UNION ALL
       SELECT k.merchant_id, k.order_id
         FROM cases k WHERE k.merchant_id = m.merchant_id AND k.case_id = $2::text
       ) AS f ON true
 WHERE f.merchant_id = m.merchant_id AND f.order_id IS NOT NULL
 ORDER BY f.merchant_id, f.order_id
 LIMIT 1;

-- summary
-- How an order stands.
SELECT o.state, o.fulfilment, o.amount_minor, o.currency, o.expires_at, o.due_at
  FROM orders o
 WHERE o.merchant_id = $1::text AND o.order_id = $2::text;

-- attempts_of_order
-- The attempts of an order, and what the gateway knows them by.
SELECT a.number, a.connection_id, a.checkout_session, a.payment_intent
  FROM attempt a
 WHERE a.merchant_id = $1::text AND a.order_id = $2::text
 ORDER BY a.number
 LIMIT $3::int;

-- cases_of_order
-- The cases about an order.
SELECT k.case_id FROM cases k WHERE k.merchant_id = $1::text AND k.order_id = $2::text ORDER BY k.case_id LIMIT $3::int;

-- changes_of_order
-- When an order changed so that the shop may have been told.
SELECT DISTINCT t.at
  FROM timeline t
 WHERE t.merchant_id = $1::text AND t.order_id = $2::text
   AND (t.state_before <> t.state_after
        OR t.fact ->> 'fact' IN ('refund_seen', 'fulfilment_decided', 'held', 'hold_lifted', 'dispute_seen', 'returned', 'kept'))
 ORDER BY t.at
 LIMIT $3::int;

-- notices_of_order
-- The notifications of an order that were written at these instants. Their ids begin with their time, so each instant is a short range.
SELECT m.id, convert_from(m.body, 'UTF8')::jsonb ->> 'type' AS type
  FROM unnest($3::text[], $4::text[]) AS i(first_id, end_id)
  JOIN message m ON m.owner_id = $1::text AND m.id >= i.first_id AND m.id < i.end_id
 WHERE convert_from(m.body, 'UTF8')::jsonb #>> '{data,order,id}' = $2::text
 ORDER BY m.id;

-- tell_order
-- How an order began, and every change of it, behind a place.
SELECT h.at, h.place, h.kind, h.subject, h.reference, h.by, h.now, NULL::int AS took_ms, 0 AS more, h.details
  FROM (SELECT o.created_at AS at, '05:' || o.order_id AS place, 'order.placed' AS kind, o.order_id AS subject, NULL::text AS reference,
               NULL::text AS by, 'PENDING' AS now,
               jsonb_build_object('amount_minor', o.amount_minor, 'currency', o.currency) AS details
          FROM orders o WHERE o.merchant_id = $1::text AND o.order_id = $2::text
        UNION ALL
        SELECT t.at, '40:' || lpad(t.number::text, 19, '0'),
               'fact.' || (t.fact ->> 'fact') || CASE t.fact ->> 'fact'
                   WHEN 'charge_seen' THEN '.' || (t.fact ->> 'status')
                   WHEN 'fulfilment_decided' THEN '.' || (t.fact ->> 'decision')
                   WHEN 'dispute_seen' THEN coalesce('.' || (t.fact ->> 'outcome'), '')
                   ELSE '' END,
               coalesce(t.fact ->> 'refund', t.fact ->> 'dispute', t.fact ->> 'charge', t.fact ->> 'intent', t.fact ->> 'session',
                   t.fact ->> 'subject'),
               t.reference, t.source, CASE WHEN t.state_before <> t.state_after THEN t.state_after END,
               jsonb_build_object('attempt', t.attempt, 'currency', t.fact ->> 'currency', 'code', t.fact ->> 'code',
                   'reason', t.fact ->> 'reason', 'status', t.fact ->> 'status',
                   'amount_minor', coalesce(t.fact ->> 'captured_minor', t.fact ->> 'authorised_minor', t.fact ->> 'amount_minor'))
          FROM timeline t WHERE t.merchant_id = $1::text AND t.order_id = $2::text) AS h
 WHERE (h.at, h.place) > ($3::timestamptz, $4::text)
 ORDER BY h.at, h.place
 LIMIT $5::int;

-- tell_webhooks
-- The webhooks that changed an order, and those that came to nothing so far, behind a place.
SELECT h.at, h.place, h.kind, h.subject, h.reference, NULL::text AS by, NULL::text AS now, NULL::int AS took_ms, 0 AS more, h.details
  FROM (SELECT w.received_at AS at, '35:' || w.event_id AS place, 'webhook.' || w.state AS kind, w.connection_id AS subject,
               w.event_id AS reference, jsonb_build_object('type', w.type, 'tries', w.tries, 'error', w.error) AS details
          FROM (SELECT DISTINCT t.reference
                  FROM timeline t
                 WHERE t.merchant_id = $1::text AND t.order_id = $2::text AND t.source = 'webhook') AS t
         CROSS JOIN unnest($3::text[]) AS c(connection_id)
          JOIN inbox w ON w.merchant_id = $1::text AND w.connection_id = c.connection_id AND w.event_id = t.reference
        UNION
        SELECT w.received_at, '35:' || w.event_id, 'webhook.' || w.state, w.connection_id, w.event_id,
               jsonb_build_object('type', w.type, 'tries', w.tries, 'error', w.error)
          FROM unnest($3::text[]) AS c(connection_id)
          JOIN inbox w ON w.merchant_id = $1::text AND w.connection_id = c.connection_id
               AND w.state IN ('parked', 'failed') AND w.order_id = $2::text) AS h
 WHERE (h.at, h.place) > ($4::timestamptz, $5::text)
 ORDER BY h.at, h.place
 LIMIT $6::int;

-- tell_work
-- Refunds that were asked for, and what had to be done outside because of an order; behind a place.
SELECT h.at, h.place, h.kind, h.subject, h.reference, NULL::text AS by, NULL::text AS now, NULL::int AS took_ms, 0 AS more, h.details
  FROM (SELECT r.created_at AS at, '20:' || lpad(r.number::text, 10, '0') AS place, 'refund.asked' AS kind, r.gateway_refund AS subject,
               NULL::text AS reference,
               jsonb_build_object('amount_minor', r.amount_minor, 'currency', o.currency, 'state', r.state) AS details
          FROM refund r
          JOIN orders o ON (o.merchant_id, o.order_id) = (r.merchant_id, r.order_id)
         WHERE r.merchant_id = $1::text AND r.order_id = $2::text
        UNION ALL
        SELECT e.created_at, '45:' || e.kind || lpad(e.attempt::text, 10, '0'), 'errand.' || e.kind, e.order_id, NULL,
               jsonb_build_object('attempt', e.attempt)
          FROM errand e WHERE e.merchant_id = $1::text AND e.order_id = $2::text) AS h
 WHERE (h.at, h.place) > ($3::timestamptz, $4::text)
 ORDER BY h.at, h.place
 LIMIT $5::int;

-- tell_cases
-- Cases about an order, and what people proposed and decided about them; behind a place.
SELECT h.at, h.place, h.kind, h.subject, h.reference, h.by, NULL::text AS now, NULL::int AS took_ms, 0 AS more, h.details
  FROM (SELECT v.at, v.rank || k.case_id AS place, v.kind, k.case_id AS subject, NULL::text AS reference, NULL::text AS by,
               jsonb_build_object('case', replace(k.kind, '_', ' ')) AS details
          FROM unnest($2::text[]) AS wanted(case_id)
          JOIN cases k ON k.merchant_id = $1::text AND k.case_id = wanted.case_id
         CROSS JOIN LATERAL (VALUES ('80:', k.opened_at, 'recon.case'), ('88:', k.closed_at, 'recon.case_closed')) AS v(rank, at, kind)
         WHERE v.at IS NOT NULL
        UNION ALL
        SELECT v.at, v.rank || p.case_id || lpad(p.number::text, 10, '0'), v.kind, p.case_id, NULL, v.by,
               jsonb_build_object('action', p.action)
          FROM unnest($2::text[]) AS wanted(case_id)
          JOIN case_proposal p ON p.merchant_id = $1::text AND p.case_id = wanted.case_id
         CROSS JOIN LATERAL (VALUES ('84:', p.proposed_at, 'case.proposed', p.proposed_by),
               ('86:', p.decided_at, 'case.' || p.state, p.decided_by)) AS v(rank, at, kind, by)
         WHERE v.at IS NOT NULL) AS h
 WHERE (h.at, h.place) > ($3::timestamptz, $4::text)
 ORDER BY h.at, h.place
 LIMIT $5::int;

-- tell_settlement
-- Lines that gateways settled for payments of an order, and what did not fit; behind a place. Dry runs and comparisons that were
-- made again do not count.
SELECT h.at, h.place, h.kind, h.subject, h.reference, NULL::text AS by, NULL::text AS now, NULL::int AS took_ms, 0 AS more, h.details
  FROM (SELECT r.created_at AS at, '50:' || encode(sha256(convert_to(r.reconciliation_id || l.line_id, 'UTF8')), 'hex') AS place, 'recon.line' AS kind, l.payment AS subject,
               l.line_id AS reference,
               jsonb_build_object('day', r.business_date, 'entry', l.category, 'currency', l.currency,
                   'amount_minor', abs(l.gross_minor), 'fee_minor', l.fee_minor, 'code', l.code) AS details
          FROM unnest($3::text[]) AS p(payment)
          JOIN settlement_line l ON l.merchant_id = $1::text AND l.payment = p.payment
          JOIN reconciliation r ON (r.merchant_id, r.reconciliation_id) = (l.merchant_id, l.reconciliation_id)
         WHERE NOT r.dry_run AND NOT r.superseded
        UNION ALL
        SELECT v.at, v.rank || encode(sha256(convert_to(m.reconciliation_id || m.code || m.subject, 'UTF8')), 'hex'), v.kind, m.subject, m.reconciliation_id,
               jsonb_build_object('day', r.business_date, 'code', m.code)
          FROM mismatch m
          JOIN reconciliation r ON (r.merchant_id, r.reconciliation_id) = (m.merchant_id, m.reconciliation_id)
         CROSS JOIN LATERAL (VALUES ('78:', m.found_at, 'recon.mismatch'), ('79:', m.resolved_at, 'recon.resolved')) AS v(rank, at, kind)
         WHERE m.merchant_id = $1::text AND m.order_id = $2::text AND v.at IS NOT NULL AND NOT r.dry_run AND NOT r.superseded) AS h
 WHERE (h.at, h.place) > ($4::timestamptz, $5::text)
 ORDER BY h.at, h.place
 LIMIT $6::int;

-- tell_calls
-- Calls under idempotency keys that are about an order: their recovery points name it, and they were claimed a moment before what they
-- made. Behind a place, which shows no key: that is a caller's word. Keys are dropped after three days.
SELECT h.at, h.place, h.kind, NULL::text AS subject, h.reference, NULL::text AS by, NULL::text AS now, NULL::int AS took_ms, 0 AS more,
       h.details
  FROM (SELECT DISTINCT k.created_at AS at, '01:' || encode(sha256(convert_to(k.key, 'UTF8')), 'hex') AS place, 'call.' || k.state AS kind, k.key AS reference,
               jsonb_build_object('key', k.key, 'status', k.status) AS details
          FROM (SELECT o.created_at FROM orders o WHERE o.merchant_id = $1::text AND o.order_id = $2::text
                UNION SELECT a.created_at FROM attempt a WHERE a.merchant_id = $1::text AND a.order_id = $2::text
                UNION SELECT r.created_at FROM refund r WHERE r.merchant_id = $1::text AND r.order_id = $2::text) AS made
          JOIN idempotency_key k ON k.owner_id = $1::text AND k.created_at BETWEEN made.created_at - interval '2 seconds' AND made.created_at
               AND (k.recovery = $2::text OR starts_with(k.recovery, $2::text || ':') OR starts_with(k.recovery, $2::text || '/'))) AS h
 WHERE (h.at, h.place) > ($3::timestamptz, $4::text)
 ORDER BY h.at, h.place
 LIMIT $5::int;

-- next_of_order
-- What is to happen next by itself about an order, the earliest first.
SELECT n.at, n.kind, n.subject, n.details
  FROM (SELECT o.expires_at AS at, 'due.order' AS kind, o.order_id AS subject, '{}'::jsonb AS details
          FROM orders o WHERE o.merchant_id = $1::text AND o.order_id = $2::text AND o.state = 'PENDING'
        UNION ALL
        SELECT a.due_at, 'due.attempt', a.checkout_session, jsonb_build_object('attempt', a.number)
          FROM attempt a WHERE a.merchant_id = $1::text AND a.order_id = $2::text AND a.due_at IS NOT NULL
        UNION ALL
        SELECT e.due_at, 'due.errand', e.order_id, jsonb_build_object('errand', e.kind, 'number', e.tries + 1)
          FROM errand e WHERE e.merchant_id = $1::text AND e.order_id = $2::text AND e.due_at IS NOT NULL
        UNION ALL
        SELECT w.due_at, 'due.webhook', w.event_id, jsonb_build_object('type', w.type)
          FROM unnest($3::text[]) AS c(connection_id)
          JOIN inbox w ON w.merchant_id = $1::text AND w.connection_id = c.connection_id
               AND w.state IN ('parked', 'failed') AND w.order_id = $2::text AND w.due_at IS NOT NULL
        UNION ALL
        SELECT m.wait_until::timestamp AT TIME ZONE 'UTC', 'due.mismatch', m.subject, jsonb_build_object('code', m.code)
          FROM mismatch m
         WHERE m.merchant_id = $1::text AND m.order_id = $2::text AND m.state = 'waiting' AND m.wait_until IS NOT NULL) AS n
 ORDER BY n.at, n.kind, n.subject
 LIMIT $4::int;
