-- load_locked
-- The orders that a batch of facts is about, locked in the order of their ids, so that two batches never wait for each other in a circle.
SELECT o.merchant_id, o.order_id, o.connection_id, o.amount_minor, o.currency, o.declines_max, o.facts, o.version
  FROM unnest($1::text[], $2::text[]) AS wanted(merchant_id, order_id)
  JOIN orders o ON (o.merchant_id, o.order_id) = (wanted.merchant_id, wanted.order_id)
 ORDER BY o.merchant_id, o.order_id
   FOR NO KEY UPDATE OF o;

-- save_changes
-- Store what was decided about a batch of orders: the orders, the attempts that changed, one timeline row per change, and the
-- webhooks that brought the news. An order whose version is no longer the one that was decided about is left out with all that
-- belongs to it. Gives the places of the orders that were saved.
-- Orders and webhooks come in id order and are locked in it, webhooks after all orders, so that nobody waits in a circle. Every
-- part of the statement costs the smallest batch its preparation, which is most of what that costs: so there are no more than these.
WITH saved AS (
    UPDATE orders o
       SET facts = u.facts, state = u.state, fulfilment = u.fulfilment, attention = u.attention, late = u.late, overpaid = u.overpaid,
           keeper = u.keeper, released = u.released, attempt_newest = u.attempt_newest,
           amount_captured_minor = u.amount_captured_minor, amount_refunded_minor = u.amount_refunded_minor,
           paid_at = CASE WHEN u.state = 'PAID' AND o.state <> 'PAID' THEN $1::timestamptz ELSE o.paid_at END,
           version = u.version, updated_at = $1::timestamptz
      FROM json_to_recordset($2::json) AS u(
           place int, merchant_id text, order_id text, version_before bigint, version bigint, facts jsonb, state text,
           fulfilment text, attention text, late boolean, overpaid boolean, keeper int, released int,
           attempt_newest int, amount_captured_minor bigint, amount_refunded_minor bigint)
     WHERE (o.merchant_id, o.order_id, o.version) = (u.merchant_id, u.order_id, u.version_before)
    RETURNING u.place, o.merchant_id, o.order_id
), attempts AS (
    UPDATE attempt a
       SET state = u.state,
           checkout_session = u.checkout_session,
           payment_intent = u.payment_intent,
           redirect_url = coalesce(u.redirect_url, a.redirect_url),
           client_secret = coalesce(u.client_secret, a.client_secret),
           open_request = CASE WHEN u.checkout_session IS NULL AND u.state = 'open' THEN a.open_request END,
           close_reason = u.close_reason,
           close_number = a.close_number + u.close_step,
           close_requested_at = CASE WHEN u.close_step = 1 THEN $1::timestamptz ELSE a.close_requested_at END,
           due_at = CASE WHEN u.state IN ('closed', 'succeeded') THEN NULL
                         WHEN u.close_step = 1 THEN $1::timestamptz
                         ELSE a.due_at END,
           lease_until = CASE WHEN u.close_step = 1 OR u.state IN ('closed', 'succeeded') THEN NULL ELSE a.lease_until END,
           generation = a.generation + u.close_step,
           tries = CASE WHEN u.close_step = 1 THEN 0 ELSE a.tries END
      FROM (SELECT s.merchant_id, s.order_id, r.*
              FROM saved s
              JOIN json_to_recordset($3::json) AS r(
                   order_place int, number int, state text, checkout_session text, payment_intent text, redirect_url text,
                   client_secret text, close_reason text, close_step int) ON r.order_place = s.place
            OFFSET 0) AS u  -- first each row to its order, once, and then to its attempt
     WHERE (a.merchant_id, a.order_id, a.number) = (u.merchant_id, u.order_id, u.number)
), lines AS (
    INSERT INTO timeline (merchant_id, order_id, number, at, source, attempt, fact, state_before, state_after, reference)
    SELECT s.merchant_id, s.order_id, u.number, $1::timestamptz, u.source, u.attempt, u.fact, u.state_before, u.state_after, u.reference
      FROM saved s
      JOIN json_to_recordset($4::json) AS u(
           order_place int, number bigint, source text, attempt int, fact jsonb, state_before text, state_after text,
           reference text) ON u.order_place = s.place
), webhooks AS (
    INSERT INTO inbox (merchant_id, connection_id, event_id, type, order_id, state, error, due_at, received_at, raw, trace)
    SELECT u.merchant_id, u.connection_id, u.event_id, u.type, u.order_id, u.state, u.error, u.due_at, $1::timestamptz,
           ($6::bytea[])[u.place], u.trace
      FROM json_to_recordset($5::json) AS u(
           place int, order_place int, merchant_id text, connection_id text, event_id text, type text, order_id text,
           state text, error text, due_at timestamptz, trace text)
     WHERE u.order_place IS NULL OR u.order_place IN (SELECT s.place FROM saved s)
        ON CONFLICT (merchant_id, connection_id, event_id) DO NOTHING
)
SELECT s.place FROM saved s;

-- attempts_of_intents
-- Which attempt a payment intent of a connection belongs to: events about refunds and disputes name the payment alone.
SELECT a.merchant_id, a.connection_id, a.payment_intent, a.order_id, a.number
  FROM unnest($1::text[], $2::text[], $3::text[]) AS wanted(merchant_id, connection_id, payment_intent)
  JOIN attempt a ON (a.merchant_id, a.connection_id, a.payment_intent) = (wanted.merchant_id, wanted.connection_id, wanted.payment_intent)
 ORDER BY a.merchant_id, a.order_id, a.number;

-- find_orders
-- Orders as they are shown, each with the way to its newest attempt's page.
SELECT o.merchant_id, o.order_id, o.connection_id, o.customer_id, o.reference, o.amount_minor, o.currency, o.line_items, o.metadata,
       o.return_url, o.cancel_url, o.ui_mode, o.facts, o.state, o.fulfilment, o.attention, o.late, o.overpaid,
       o.amount_captured_minor, o.amount_refunded_minor, o.created_at, o.updated_at, o.expires_at, a.redirect_url, a.client_secret
  FROM unnest($1::text[], $2::text[]) AS wanted(merchant_id, order_id)
  JOIN orders o ON (o.merchant_id, o.order_id) = (wanted.merchant_id, wanted.order_id)
  LEFT JOIN attempt a ON (a.merchant_id, a.order_id, a.number) = (o.merchant_id, o.order_id, o.attempt_newest)
 ORDER BY o.merchant_id, o.order_id;

-- customers_with_orders
-- Which of these customers an order names. One by one through the index, also by a plan that was made while the table was small.
SELECT u.merchant_id, u.customer_id
  FROM unnest($1::text[], $2::text[]) AS u(merchant_id, customer_id)
 WHERE EXISTS (SELECT FROM orders o WHERE (o.merchant_id, o.customer_id) = (u.merchant_id, u.customer_id) OFFSET 0)
 ORDER BY u.merchant_id, u.customer_id;

-- list_orders
-- A page of a merchant's orders, the newest first, those older than the cursor.
SELECT o.merchant_id, o.order_id, o.connection_id, o.customer_id, o.reference, o.amount_minor, o.currency, o.line_items, o.metadata,
       o.return_url, o.cancel_url, o.ui_mode, o.facts, o.state, o.fulfilment, o.attention, o.late, o.overpaid,
       o.amount_captured_minor, o.amount_refunded_minor, o.created_at, o.updated_at, o.expires_at, a.redirect_url, a.client_secret
  FROM orders o
  LEFT JOIN attempt a ON (a.merchant_id, a.order_id, a.number) = (o.merchant_id, o.order_id, o.attempt_newest)
 WHERE o.merchant_id = $1::text AND ($2::text IS NULL OR o.order_id < $2::text)
 ORDER BY o.order_id DESC
 LIMIT $3::int;

-- list_timeline
-- A page of an order's timeline, the oldest row first, those after the cursor.
SELECT t.number, t.at, t.source, t.attempt, t.fact, t.state_before, t.state_after, t.reference
  FROM timeline t
 WHERE t.merchant_id = $1::text AND t.order_id = $2::text AND t.number > $3::bigint
 ORDER BY t.number
 LIMIT $4::int;

-- insert_errands
-- What must now be done outside about orders; what was written before, done or not, is left as it is, but for the return of charges:
-- a further one makes it due again. Stock is told only where the merchant has a hook for it.
INSERT INTO errand AS known (merchant_id, order_id, kind, attempt, due_at, created_at)
SELECT e.merchant_id, e.order_id, e.kind, e.attempt, $1::timestamptz, $1::timestamptz
  FROM unnest($2::text[], $3::text[], $4::text[], $5::int[]) AS e(merchant_id, order_id, kind, attempt)
  JOIN merchant m ON m.merchant_id = e.merchant_id
 WHERE e.kind <> 'release' OR m.stock_url IS NOT NULL
 ORDER BY e.merchant_id, e.order_id, e.kind, e.attempt
    ON CONFLICT (merchant_id, order_id, kind, attempt) DO UPDATE
   SET due_at = excluded.due_at
 WHERE known.kind = 'return_charges' AND known.due_at IS NULL;
