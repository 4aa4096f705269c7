-- webhook_connection
-- What the intake must know of a connection to verify what comes for it.
SELECT c.merchant_id, c.connection_id, c.gateway, c.signature_scheme, c.webhook_secret_refs
  FROM connection c
 WHERE c.merchant_id = $1::text AND c.connection_id = $2::text AND c.disabled_at IS NULL;

-- receive
-- Store webhooks that were not stored before and give their ids. In the order of the key, so that two batches that hold the
-- same events wait for each other and not in a circle.
INSERT INTO inbox (merchant_id, connection_id, event_id, type, order_id, state, error, due_at, received_at, raw)
SELECT u.merchant_id, u.connection_id, u.event_id, u.type, u.order_id, u.state, u.error, u.due_at, $1::timestamptz,
       ($3::bytea[])[u.place]
  FROM json_to_recordset($2::json) AS u(
       merchant_id text, connection_id text, event_id text, type text, order_id text, state text, error text,
       due_at timestamptz, place int)
 ORDER BY u.merchant_id, u.connection_id, u.event_id
    ON CONFLICT (merchant_id, connection_id, event_id) DO NOTHING
RETURNING merchant_id, connection_id, event_id;

-- park
-- Mark webhooks whose order is not known (yet); they are matched again when they are due.
UPDATE inbox i
   SET state = 'parked', due_at = $1::timestamptz
  FROM unnest($2::text[], $3::text[], $4::text[]) AS u(merchant_id, connection_id, event_id)
 WHERE (i.merchant_id, i.connection_id, i.event_id) = (u.merchant_id, u.connection_id, u.event_id);
