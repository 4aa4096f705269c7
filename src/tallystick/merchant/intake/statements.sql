-- webhook_connection
-- What the intake must know of a connection to verify what comes for it.
SELECT c.merchant_id, c.connection_id, c.gateway, c.signature_scheme, c.webhook_secret_refs
  FROM connection c
 WHERE c.merchant_id = $1::text AND c.connection_id = $2::text AND c.disabled_at IS NULL;

-- look_up
-- For each webhook of a batch: whether it was stored before, and the order it is about, unlocked, where there is one. One by one
-- through the index, also by a plan that was made while the tables were small.
SELECT i.event_id IS NOT NULL AS known,
       o.merchant_id, o.order_id, o.connection_id, o.amount_minor, o.currency, o.declines_max, o.facts, o.version
  FROM json_to_recordset($1::json) AS w(place int, merchant_id text, connection_id text, event_id text, order_id text)
  LEFT JOIN LATERAL (
       SELECT i.event_id
         FROM inbox i
        WHERE (i.merchant_id, i.connection_id, i.event_id) = (w.merchant_id, w.connection_id, w.event_id)
        LIMIT 1) AS i ON true
  LEFT JOIN LATERAL (
       SELECT o.merchant_id, o.order_id, o.connection_id, o.amount_minor, o.currency, o.declines_max, o.facts, o.version
         FROM orders o
        WHERE (o.merchant_id, o.order_id) = (w.merchant_id, w.order_id)
        LIMIT 1) AS o ON true
 ORDER BY w.place;
