-- intents_of_sessions
-- The payment intents to which checkout sessions are bound.
SELECT s.account_id, s.livemode, s.id, s.payment_intent
  FROM checkout_session s
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS wanted(account_id, livemode, id)
    ON (s.account_id, s.livemode, s.id) = (wanted.account_id, wanted.livemode, wanted.id)
 ORDER BY s.account_id, s.livemode, s.id;

-- session_pages
-- Sessions with their intents and merchants: all that their pages show.
SELECT s.account_id, s.livemode, s.id, s.version, s.status, s.payment_status, s.amount_total, s.currency, s.line_items,
       s.ui_mode, s.expires_at, s.created_at, s.payment_intent, s.success_url, s.cancel_url, s.return_url,
       s.client_reference_id, s.client_secret, s.metadata, s.payment_intent_data, s.decline_count, s.completed_at,
       s.customer, s.saves_card,
       i.version AS i_version, i.status AS i_status, i.amount AS i_amount, i.currency AS i_currency,
       i.capture_method AS i_capture_method, i.client_secret AS i_client_secret, i.created_at AS i_created_at,
       i.amount_capturable AS i_amount_capturable, i.amount_received AS i_amount_received,
       i.payment_method AS i_payment_method, i.latest_charge AS i_latest_charge,
       i.checkout_session AS i_checkout_session, i.description AS i_description, i.metadata AS i_metadata,
       i.last_payment_error AS i_last_payment_error, i.next_action AS i_next_action, i.return_url AS i_return_url,
       i.cancellation_reason AS i_cancellation_reason, i.capture_before_at AS i_capture_before_at,
       i.canceled_at AS i_canceled_at, i.customer AS i_customer,
       i.setup_future_usage AS i_setup_future_usage, i.trace AS i_trace, a.name AS merchant, a.origins
  FROM checkout_session s
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS wanted(account_id, livemode, id)
    ON (s.account_id, s.livemode, s.id) = (wanted.account_id, wanted.livemode, wanted.id)
  JOIN payment_intent i ON (i.account_id, i.livemode, i.id) = (s.account_id, s.livemode, s.payment_intent)
  JOIN account a ON a.account_id = s.account_id
 ORDER BY s.account_id, s.livemode, s.id;

-- challenge_of_intent
-- The charge of an intent that waits for its 3DS challenge.
SELECT c.id, c.account_id, c.livemode, c.payment_intent, c.authentication
  FROM charge c
 WHERE c.account_id = $1::text AND c.livemode = $2::boolean AND c.payment_intent = $3::text
   AND c.state = 'authenticating' AND c.authentication IS NOT NULL;

-- challenge_page
-- A charge with what a bank's 3DS page shows of it.
SELECT c.account_id, c.livemode, c.id, c.payment_intent, c.amount, c.currency, c.state, c.authentication, m.brand,
       m.last4, a.name AS merchant, a.origins, i.return_url, s.id AS session, s.ui_mode
  FROM charge c
  JOIN payment_method m ON (m.account_id, m.livemode, m.id) = (c.account_id, c.livemode, c.payment_method)
  JOIN payment_intent i ON (i.account_id, i.livemode, i.id) = (c.account_id, c.livemode, c.payment_intent)
  JOIN account a ON a.account_id = c.account_id
  LEFT JOIN checkout_session s ON (s.account_id, s.livemode, s.id) = (c.account_id, c.livemode, i.checkout_session)
 WHERE c.account_id = $1::text AND c.livemode = $2::boolean AND c.id = $3::text AND c.authentication IS NOT NULL;

-- due_sessions
-- Open sessions whose time is over, but for those whose payment is with the bank: they end by its answer.
SELECT s.account_id, s.livemode, s.id, s.payment_intent, s.expires_at AS due_at
  FROM checkout_session s
  JOIN payment_intent i ON (i.account_id, i.livemode, i.id) = (s.account_id, s.livemode, s.payment_intent)
 WHERE s.status = 'open' AND s.expires_at <= $1::timestamptz AND (s.expires_at, s.id) > ($2::timestamptz, $3::text)
   AND i.status <> 'processing'
 ORDER BY s.expires_at, s.id
 LIMIT $4::int;

-- due_captures
-- Authorised payments that nobody captured in time, but for those with an operation under way.
SELECT i.account_id, i.livemode, i.id, i.id AS payment_intent, i.capture_before_at AS due_at
  FROM payment_intent i
 WHERE i.status = 'requires_capture' AND i.capture_before_at <= $1::timestamptz
   AND (i.capture_before_at, i.id) > ($2::timestamptz, $3::text)
   AND NOT EXISTS (SELECT FROM acquirer_request r
                    WHERE (r.account_id, r.livemode, r.payment_intent) = (i.account_id, i.livemode, i.id)
                      AND r.state IN ('created', 'sent', 'unknown'))
 ORDER BY i.capture_before_at, i.id
 LIMIT $4::int;

-- saved_cards
-- What the pages of customers show of the cards that they saved, newest first.
SELECT m.account_id, m.livemode, m.customer, m.id, m.brand, m.last4, m.exp_month, m.exp_year
  FROM payment_method m
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS wanted(account_id, livemode, customer)
    ON (m.account_id, m.livemode, m.customer) = (wanted.account_id, wanted.livemode, wanted.customer)
 WHERE m.attached_at IS NOT NULL
 ORDER BY m.account_id, m.livemode, m.customer, m.id DESC;
