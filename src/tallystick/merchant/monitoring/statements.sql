-- orders_created
-- Orders created within a window, by what became of them and whether anybody tried to pay.
SELECT o.state, CASE WHEN o.attempt_newest > 0 THEN 'yes' ELSE 'no' END AS attempted, count(*) AS value
  FROM orders o
 WHERE o.created_at >= $1::timestamptz AND o.created_at < $2::timestamptz
 GROUP BY 1, 2
 ORDER BY 1, 2;

-- order_overdue
-- Seconds by which the oldest PENDING order is past its end; 0 when none is. Whatever is still to be looked at has a due time, so
-- the earliest of these are enough.
SELECT greatest(0, coalesce(max(extract(epoch FROM $1::timestamptz - o.expires_at)), 0)) AS value
  FROM ((SELECT merchant_id, order_id FROM attempt WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1000)
        UNION
        (SELECT merchant_id, order_id FROM orders WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1000)) AS early
  JOIN orders o ON (o.merchant_id, o.order_id) = (early.merchant_id, early.order_id)
 WHERE o.state = 'PENDING';

-- work_overdue
-- Seconds for which the oldest due work of each kind waits; 0 when none does.
SELECT w.work, greatest(0, coalesce(extract(epoch FROM $1::timestamptz - w.due_at), 0)) AS value
  FROM (VALUES ('attempts', (SELECT due_at FROM attempt WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1)),
               ('orders', (SELECT due_at FROM orders WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1)),
               ('inbound', (SELECT due_at FROM inbox WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1)),
               ('errands', (SELECT due_at FROM errand WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1)),
               ('reconciliations', (SELECT due_at FROM reconciliation WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1)),
               ('backfill', (SELECT due_at FROM connection_watch WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1))) AS w(work, due_at)
 ORDER BY w.work;

-- inbound_unapplied
-- Webhooks that were stored and not applied, by why. States are written out, so that the index of the unapplied is used.
SELECT s.state, s.value
  FROM (VALUES ('parked', (SELECT count(*) FROM inbox WHERE state = 'parked' AND received_at <= $1::timestamptz)),
               ('failed', (SELECT count(*) FROM inbox WHERE state = 'failed' AND received_at <= $1::timestamptz)))
       AS s(state, value)
 ORDER BY s.state;

-- cases_open
-- Cases that wait for a person, by kind.
SELECT c.kind, count(*) AS value FROM cases c
 WHERE c.state = 'open' AND c.opened_at <= $1::timestamptz GROUP BY c.kind ORDER BY c.kind;

-- mismatches_open
-- Differences that are not resolved, by code; those of dry runs and of comparisons that were made again do not count, looked up one by one.
SELECT m.code, count(*) AS value FROM mismatch m
 WHERE m.state IN ('open', 'case', 'stopped', 'waiting') AND m.found_at <= $1::timestamptz
   AND (SELECT NOT (r.dry_run OR r.superseded)
          FROM reconciliation r WHERE (r.merchant_id, r.reconciliation_id) = (m.merchant_id, m.reconciliation_id))
 GROUP BY m.code ORDER BY m.code;

-- unmatched_amount
-- The money in the same differences, by currency; what waits for its other half is none yet.
SELECT m.currency, sum(abs(m.amount_minor)) AS value FROM mismatch m
 WHERE m.state IN ('open', 'case', 'stopped') AND m.found_at <= $1::timestamptz AND m.currency IS NOT NULL
   AND (SELECT NOT (r.dry_run OR r.superseded)
          FROM reconciliation r WHERE (r.merchant_id, r.reconciliation_id) = (m.merchant_id, m.reconciliation_id))
 GROUP BY m.currency ORDER BY m.currency;

-- reconciliation_age
-- Seconds since the connection that was left longest was last compared, by the newest day of each; no row before the first comparison.
SELECT max(extract(epoch FROM $1::timestamptz - newest.finished_at)) AS value
  FROM connection c
 CROSS JOIN LATERAL (
        SELECT r.finished_at
          FROM reconciliation r
         WHERE r.merchant_id = c.merchant_id AND r.connection_id = c.connection_id AND NOT r.dry_run
           AND r.source = 'gateway' AND r.state = 'done'
         ORDER BY r.business_date DESC
         LIMIT 1) AS newest
 WHERE c.disabled_at IS NULL
HAVING count(*) > 0;
