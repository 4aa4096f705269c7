-- lock_intents
-- Load payment intents for a change and keep them from every other one; everything of a payment is written under this lock.
SELECT i.account_id, i.livemode, i.id, i.version, i.status, i.amount, i.currency, i.capture_method, i.client_secret,
       i.created_at, i.amount_capturable, i.amount_received, i.payment_method, i.latest_charge, i.checkout_session,
       i.description, i.metadata, i.last_payment_error, i.next_action, i.return_url, i.cancellation_reason,
       i.capture_before_at, i.canceled_at, i.customer, i.setup_future_usage, i.trace
  FROM payment_intent i
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS wanted(account_id, livemode, id)
    ON (i.account_id, i.livemode, i.id) = (wanted.account_id, wanted.livemode, wanted.id)
 ORDER BY i.account_id, i.livemode, i.id
   FOR UPDATE OF i;

-- sessions_of_intents
-- The checkout sessions of locked intents.
SELECT s.account_id, s.livemode, s.id, s.version, s.status, s.payment_status, s.amount_total, s.currency, s.line_items,
       s.ui_mode, s.expires_at, s.created_at, s.payment_intent, s.success_url, s.cancel_url, s.return_url,
       s.client_reference_id, s.client_secret, s.metadata, s.payment_intent_data, s.decline_count, s.completed_at,
       s.customer, s.saves_card
  FROM checkout_session s
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS wanted(account_id, livemode, id)
    ON (s.account_id, s.livemode, s.id) = (wanted.account_id, wanted.livemode, wanted.id)
 ORDER BY s.account_id, s.livemode, s.id;

-- charges_of_intents
-- Of locked intents: the live charge, those with an open acquirer request, and those that are named ($4) or whose request
-- is ($5); each with its card, and with those requests, one row for each.
SELECT c.account_id, c.livemode, c.id, c.version, c.payment_intent, c.payment_method, c.state, c.amount, c.currency,
       c.capture_method, c.acquirer_key, c.created_at, c.amount_authorised, c.amount_captured, c.acquirer_reference,
       c.authentication, c.decline_code, c.failure_code, c.failure_message, c.voided_at,
       c.amount_refunded, c.refund_pending, c.dispute_withheld, c.disputed,
       r.id AS r_id, r.kind AS r_kind, r.state AS r_state, r.amount AS r_amount, r.created_at AS r_created_at,
       r.final AS r_final, r.reason AS r_reason, r.acquirer_reference AS r_acquirer_reference, r.refusal AS r_refusal,
       r.refund AS r_refund,
       m.card_reference, m.brand, m.first6, m.last4, m.exp_month, m.exp_year, m.fingerprint, m.authentication_required,
       m.created_at AS m_created_at, m.metadata AS m_metadata, m.customer, m.attached_at, m.vault_token, m.single_use
  FROM charge c
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS wanted(account_id, livemode, id)
    ON (c.account_id, c.livemode, c.payment_intent) = (wanted.account_id, wanted.livemode, wanted.id)
  JOIN payment_method m ON (m.account_id, m.livemode, m.id) = (c.account_id, c.livemode, c.payment_method)
  LEFT JOIN acquirer_request r
    ON (r.account_id, r.livemode, r.payment_intent) = (c.account_id, c.livemode, c.payment_intent)
   AND r.charge = c.id AND (r.state IN ('created', 'sent', 'unknown') OR r.id = ANY ($5::text[]))
 WHERE c.state IN ('authenticating', 'created', 'sent', 'unknown', 'approved') OR c.id = ANY ($4::text[])
    OR r.id IS NOT NULL
 ORDER BY c.account_id, c.livemode, c.payment_intent, c.id, r.id;

-- insert_intents
-- Open payment intents.
INSERT INTO payment_intent (account_id, livemode, id, version, status, amount, currency, capture_method, client_secret,
                            created_at, amount_capturable, amount_received, payment_method, latest_charge,
                            checkout_session, description, metadata, last_payment_error, next_action, return_url,
                            cancellation_reason, capture_before_at, canceled_at, customer, setup_future_usage, trace)
SELECT n.account_id, n.livemode, n.id, n.version, n.status, n.amount, n.currency, n.capture_method, n.client_secret,
       n.created_at, n.amount_capturable, n.amount_received, n.payment_method, n.latest_charge, n.checkout_session,
       n.description, n.metadata::jsonb, n.last_payment_error::jsonb, n.next_action::jsonb, n.return_url,
       n.cancellation_reason, n.capture_before_at, n.canceled_at, n.customer, n.setup_future_usage, n.trace
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::int[], $5::text[], $6::bigint[], $7::text[], $8::text[],
              $9::text[], $10::timestamptz[], $11::bigint[], $12::bigint[], $13::text[], $14::text[], $15::text[],
              $16::text[], $17::text[], $18::text[], $19::text[], $20::text[], $21::text[], $22::timestamptz[],
              $23::timestamptz[], $24::text[], $25::text[], $26::text[])
       AS n(account_id, livemode, id, version, status, amount, currency, capture_method, client_secret, created_at,
            amount_capturable, amount_received, payment_method, latest_charge, checkout_session, description, metadata,
            last_payment_error, next_action, return_url, cancellation_reason, capture_before_at, canceled_at, customer,
            setup_future_usage, trace);

-- open_payments
-- Open payments, each with its session, its event with messages and deliveries, and its kept answer: one statement, one
-- commit. What is returned was opened. What is held for a disabled endpoint the keeper is asked to look at: a commit that this
-- one does not see may enable it. Left out is a payment whose call has lost its lease; and all are, when endpoints are
-- no longer as those were ($4) by which the deliveries were made. The limit is their number: it tells the planner that the
-- JSON does not hold a hundred rows, so that keys are found by their index in small tables too.
WITH known AS MATERIALIZED (
    SELECT ARRAY(SELECT ROW(e.id, e.status, e.enabled_events, e.api_version, a.default_api_version)::text
                   FROM unnest($2::text[], $3::boolean[]) AS owner(account_id, livemode)
                   JOIN webhook_endpoint e ON (e.account_id, e.livemode) = (owner.account_id, owner.livemode)
                   JOIN account a ON a.account_id = e.account_id
                  WHERE e.deleted_at IS NULL
                  ORDER BY e.account_id, e.livemode, e.id) = $4::text[] AS still
), asked AS MATERIALIZED (
    SELECT n.*
      FROM ROWS FROM (
               json_to_recordset($5::json) AS (
                   account_id text, livemode boolean, id text, version int, status text, amount bigint, currency text,
                   capture_method text, client_secret text, checkout_session text, description text, metadata text,
                   customer text, setup_future_usage text, created_at timestamptz, trace text, event text, request_id text, mode text, key text,
                   generation int),
               unnest($6::text[], $7::bytea[])
           ) AS n(account_id, livemode, id, version, status, amount, currency, capture_method, client_secret,
                  checkout_session, description, metadata, customer, setup_future_usage, created_at, trace, event,
                  request_id, mode, key, generation, object, answer)
     WHERE (SELECT known.still FROM known)
     LIMIT $8::int
), answered AS (
    UPDATE idempotency_key k
       SET state = 'done', status = 200, body = asked.answer
      FROM asked
     WHERE (k.owner_id, k.mode, k.key, k.generation) = (asked.account_id, asked.mode, asked.key, asked.generation)
       AND k.state = 'running'
    RETURNING asked.id
), opened AS MATERIALIZED (
    SELECT asked.* FROM asked WHERE asked.generation IS NULL OR asked.id IN (SELECT answered.id FROM answered)
), intents AS (
    INSERT INTO payment_intent (account_id, livemode, id, version, status, amount, currency, capture_method, client_secret,
                                checkout_session, description, metadata, customer, setup_future_usage, created_at,
                                trace)
    SELECT o.account_id, o.livemode, o.id, o.version, o.status, o.amount, o.currency, o.capture_method, o.client_secret,
           o.checkout_session, o.description, o.metadata::jsonb, o.customer, o.setup_future_usage, o.created_at, o.trace
      FROM opened o
), sessions AS (
    INSERT INTO checkout_session (account_id, livemode, id, version, status, payment_status, amount_total, currency,
                                  line_items, ui_mode, expires_at, payment_intent, success_url, cancel_url, return_url,
                                  client_reference_id, client_secret, metadata, payment_intent_data, customer,
                                  saves_card, created_at)
    SELECT n.account_id, n.livemode, n.id, n.version, n.status, n.payment_status, n.amount_total, n.currency,
           n.line_items::jsonb, n.ui_mode, n.expires_at, n.payment_intent, n.success_url, n.cancel_url, n.return_url,
           n.client_reference_id, n.client_secret, n.metadata::jsonb, n.payment_intent_data::jsonb, n.customer,
           n.saves_card, n.created_at
      FROM json_to_recordset($9::json) AS n(
               account_id text, livemode boolean, id text, version int, status text, payment_status text,
               amount_total bigint, currency text, line_items text, ui_mode text, expires_at timestamptz,
               payment_intent text, success_url text, cancel_url text, return_url text, client_reference_id text,
               client_secret text, metadata text, payment_intent_data text, customer text, saves_card boolean,
               created_at timestamptz)
      JOIN opened o ON o.id = n.payment_intent
), messages AS (
    INSERT INTO message (owner_id, id, api_version, body)
    SELECT o.account_id, o.event, m.api_version, m.body
      FROM unnest($10::text[], $11::text[], $12::bytea[]) AS m(id, api_version, body)
      JOIN opened o ON o.event = m.id
), deliveries AS (
    INSERT INTO delivery (owner_id, id, livemode, message, api_version, endpoint, state, reason, due_at, created_at, trace)
    SELECT o.account_id, d.id, o.livemode, o.event, d.api_version, d.endpoint, d.state, d.reason, $1::timestamptz,
           $1::timestamptz, o.trace
      FROM unnest($13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[])
           AS d(id, message, api_version, endpoint, state, reason)
      JOIN opened o ON o.event = d.message
    RETURNING owner_id, livemode, endpoint, state
), keeps AS (
    INSERT INTO endpoint_health AS h (owner_id, livemode, endpoint, keep_at)
    SELECT DISTINCT d.owner_id, d.livemode, d.endpoint, $1::timestamptz
      FROM deliveries d
     WHERE d.state = 'held'
     ORDER BY d.owner_id, d.livemode, d.endpoint
        ON CONFLICT (owner_id, livemode, endpoint) DO UPDATE
       SET keep_at = excluded.keep_at
     WHERE h.keep_at IS NULL OR h.keep_at > excluded.keep_at
)
INSERT INTO event (account_id, livemode, id, type, object_id, object, request_id, idempotency_key, created_at, trace)
SELECT o.account_id, o.livemode, o.event, 'payment_intent.created', o.id, o.object, o.request_id, o.key, $1::timestamptz, o.trace
  FROM opened o
RETURNING object_id;

-- update_intents
-- Save changed intents, each only if it still has the status and version with which it was loaded (RULES §3).
UPDATE payment_intent i
   SET version = i.version + 1, status = n.status, amount_capturable = n.amount_capturable,
       amount_received = n.amount_received, payment_method = n.payment_method, latest_charge = n.latest_charge,
       description = n.description, metadata = n.metadata::jsonb, last_payment_error = n.last_payment_error::jsonb,
       next_action = n.next_action::jsonb, return_url = n.return_url, cancellation_reason = n.cancellation_reason,
       capture_before_at = n.capture_before_at, canceled_at = n.canceled_at
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::text[], $5::int[], $6::text[], $7::bigint[], $8::bigint[],
              $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[],
              $17::timestamptz[], $18::timestamptz[])
       AS n(account_id, livemode, id, old_status, old_version, status, amount_capturable, amount_received,
            payment_method, latest_charge, description, metadata, last_payment_error, next_action, return_url,
            cancellation_reason, capture_before_at, canceled_at)
 WHERE (i.account_id, i.livemode, i.id) = (n.account_id, n.livemode, n.id)
   AND i.status = n.old_status AND i.version = n.old_version;

-- insert_sessions
-- Open checkout sessions.
INSERT INTO checkout_session (account_id, livemode, id, version, status, payment_status, amount_total, currency, line_items,
                              ui_mode, expires_at, created_at, payment_intent, success_url, cancel_url, return_url,
                              client_reference_id, client_secret, metadata, payment_intent_data, decline_count,
                              completed_at, customer, saves_card)
SELECT n.account_id, n.livemode, n.id, n.version, n.status, n.payment_status, n.amount_total, n.currency,
       n.line_items::jsonb, n.ui_mode, n.expires_at, n.created_at, n.payment_intent, n.success_url, n.cancel_url,
       n.return_url, n.client_reference_id, n.client_secret, n.metadata::jsonb, n.payment_intent_data::jsonb,
       n.decline_count, n.completed_at, n.customer, n.saves_card
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::int[], $5::text[], $6::text[], $7::bigint[], $8::text[],
              $9::text[], $10::text[], $11::timestamptz[], $12::timestamptz[], $13::text[], $14::text[], $15::text[],
              $16::text[], $17::text[], $18::text[], $19::text[], $20::text[], $21::int[], $22::timestamptz[],
              $23::text[], $24::boolean[])
       AS n(account_id, livemode, id, version, status, payment_status, amount_total, currency, line_items, ui_mode,
            expires_at, created_at, payment_intent, success_url, cancel_url, return_url, client_reference_id,
            client_secret, metadata, payment_intent_data, decline_count, completed_at, customer, saves_card);

-- update_sessions
-- Save changed checkout sessions, each only if it still has the status and version with which it was loaded.
UPDATE checkout_session s
   SET version = s.version + 1, status = n.status, payment_status = n.payment_status, decline_count = n.decline_count,
       completed_at = n.completed_at
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::text[], $5::int[], $6::text[], $7::text[], $8::int[],
              $9::timestamptz[])
       AS n(account_id, livemode, id, old_status, old_version, status, payment_status, decline_count, completed_at)
 WHERE (s.account_id, s.livemode, s.id) = (n.account_id, n.livemode, n.id)
   AND s.status = n.old_status AND s.version = n.old_version;

-- insert_charges
-- Record charges before the acquirer, or the bank's 3DS server, is called.
INSERT INTO charge (account_id, livemode, id, version, payment_intent, payment_method, state, amount, currency,
                    capture_method, acquirer_key, created_at, amount_authorised, amount_captured, acquirer_reference,
                    authentication, decline_code, failure_code, failure_message, voided_at, amount_refunded,
                    refund_pending, dispute_withheld, disputed, due_at)
SELECT n.account_id, n.livemode, n.id, n.version, n.payment_intent, n.payment_method, n.state, n.amount, n.currency,
       n.capture_method, n.acquirer_key, n.created_at, n.amount_authorised, n.amount_captured, n.acquirer_reference,
       n.authentication, n.decline_code, n.failure_code, n.failure_message, n.voided_at, n.amount_refunded,
       n.refund_pending, n.dispute_withheld, n.disputed, n.due_at
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::int[], $5::text[], $6::text[], $7::text[], $8::bigint[],
              $9::text[], $10::text[], $11::text[], $12::timestamptz[], $13::bigint[], $14::bigint[], $15::text[],
              $16::text[], $17::text[], $18::text[], $19::text[], $20::timestamptz[],
              $21::bigint[], $22::bigint[], $23::bigint[], $24::boolean[], $25::timestamptz[])
       AS n(account_id, livemode, id, version, payment_intent, payment_method, state, amount, currency, capture_method,
            acquirer_key, created_at, amount_authorised, amount_captured, acquirer_reference, authentication,
            decline_code, failure_code, failure_message, voided_at, amount_refunded, refund_pending, dispute_withheld,
            disputed, due_at);

-- update_charges
-- Save changed charges, each only if it still has the state and version with which it was loaded; what is newly reserved
-- for a refund must be there to be given back (RULES §3).
UPDATE charge c
   SET version = c.version + 1, state = n.state, amount_authorised = n.amount_authorised,
       amount_captured = n.amount_captured, acquirer_reference = n.acquirer_reference,
       authentication = n.authentication, decline_code = n.decline_code, failure_code = n.failure_code,
       failure_message = n.failure_message, voided_at = n.voided_at, amount_refunded = n.amount_refunded,
       refund_pending = n.refund_pending, dispute_withheld = n.dispute_withheld, disputed = n.disputed,
       due_at = CASE WHEN n.state = c.state THEN c.due_at ELSE n.due_at END
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::text[], $5::int[], $6::text[], $7::bigint[], $8::bigint[],
              $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::timestamptz[], $15::bigint[],
              $16::bigint[], $17::bigint[], $18::boolean[], $19::timestamptz[])
       AS n(account_id, livemode, id, old_state, old_version, state, amount_authorised, amount_captured,
            acquirer_reference, authentication, decline_code, failure_code, failure_message, voided_at, amount_refunded,
            refund_pending, dispute_withheld, disputed, due_at)
 WHERE (c.account_id, c.livemode, c.id) = (n.account_id, n.livemode, n.id)
   AND c.state = n.old_state AND c.version = n.old_version
   AND (n.refund_pending <= c.refund_pending
        OR c.amount_captured - c.amount_refunded - c.refund_pending - c.dispute_withheld
           >= n.refund_pending - c.refund_pending);

-- insert_requests
-- Record captures, voids and refunds before the acquirer is called.
INSERT INTO acquirer_request (account_id, livemode, id, charge, payment_intent, kind, state, amount, created_at, final,
                              reason, acquirer_reference, refusal, refund, due_at)
SELECT n.account_id, n.livemode, n.id, n.charge, n.payment_intent, n.kind, n.state, n.amount, n.created_at, n.final,
       n.reason, n.acquirer_reference, n.refusal, n.refund, n.due_at
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[],
              $9::timestamptz[], $10::boolean[], $11::text[], $12::text[], $13::text[], $14::text[], $15::timestamptz[])
       AS n(account_id, livemode, id, charge, payment_intent, kind, state, amount, created_at, final, reason,
            acquirer_reference, refusal, refund, due_at);

-- update_requests
-- Save what became of captures, voids and refunds, each only if it still has the state with which it was loaded. While one has not
-- left, nothing was inquired: a bank that cannot be reached is no outcome that nobody knows.
UPDATE acquirer_request r
   SET state = n.state, acquirer_reference = n.acquirer_reference, refusal = n.refusal, refund = n.refund,
       due_at = CASE WHEN n.state = r.state THEN r.due_at ELSE n.due_at END,
       inquiries = CASE WHEN 'created' IN (n.state, r.state) THEN 0 ELSE r.inquiries END
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::timestamptz[])
       AS n(account_id, livemode, id, old_state, state, acquirer_reference, refusal, refund, due_at)
 WHERE (r.account_id, r.livemode, r.id) = (n.account_id, n.livemode, n.id) AND r.state = n.old_state;

-- accounts_with_several_captures
-- Which of these accounts may capture a charge in parts.
SELECT a.account_id
  FROM account a
 WHERE a.account_id = ANY ($1::text[]) AND a.several_captures
 ORDER BY a.account_id;

-- due_charges
-- Charges without a known outcome that somebody has to ask the acquirer about, longest due first, read without a lock.
SELECT c.account_id, c.livemode, c.id, c.generation, c.inquiries
  FROM charge c
 WHERE c.state IN ('created', 'sent', 'unknown') AND coalesce(c.due_at, c.created_at) <= $1::timestamptz
 ORDER BY coalesce(c.due_at, c.created_at), c.account_id, c.id
 LIMIT $2::int;

-- claim_charges
-- Take the lease of charges that the caller saw as due, and say when they are due again; those that someone else took or
-- settled meanwhile are not returned. Written by the states that are settled, so that rows are found by their key and not
-- by the index of due ones, whatever a plan's age.
UPDATE charge c
   SET lease_until = $7::timestamptz, generation = c.generation + 1, inquiries = c.inquiries + 1, due_at = seen.due_at,
       case_at = coalesce(c.case_at, seen.case_at)
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::int[], $5::timestamptz[], $6::timestamptz[])
       AS seen(account_id, livemode, id, generation, due_at, case_at), payment_method m
 WHERE (c.account_id, c.livemode, c.id, c.generation) = (seen.account_id, seen.livemode, seen.id, seen.generation)
   AND c.state NOT IN ('authenticating', 'approved', 'declined', 'abandoned', 'reversing', 'reversed')
   AND (m.account_id, m.livemode, m.id) = (c.account_id, c.livemode, c.payment_method)
RETURNING c.account_id, c.livemode, c.id, c.version, c.payment_intent, c.payment_method, c.state, c.amount, c.currency,
       c.capture_method, c.acquirer_key, c.created_at, c.amount_authorised, c.amount_captured, c.acquirer_reference,
       c.authentication, c.decline_code, c.failure_code, c.failure_message, c.voided_at,
       c.amount_refunded, c.refund_pending, c.dispute_withheld, c.disputed, c.inquiries, m.card_reference;

-- due_requests
-- Captures, voids and refunds that somebody has to send or to ask the acquirer about, longest due first.
SELECT r.account_id, r.livemode, r.id, r.generation, r.inquiries
  FROM acquirer_request r
 WHERE r.state IN ('created', 'sent', 'unknown') AND coalesce(r.due_at, r.created_at) <= $1::timestamptz
 ORDER BY coalesce(r.due_at, r.created_at), r.account_id, r.id
 LIMIT $2::int;

-- claim_requests
-- Take the lease of requests that the caller saw as due, like `claim_charges`.
UPDATE acquirer_request r
   SET lease_until = $7::timestamptz, generation = r.generation + 1, inquiries = r.inquiries + 1, due_at = seen.due_at,
       case_at = coalesce(r.case_at, seen.case_at)
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::int[], $5::timestamptz[], $6::timestamptz[])
       AS seen(account_id, livemode, id, generation, due_at, case_at), charge c, payment_method m
 WHERE (r.account_id, r.livemode, r.id, r.generation) = (seen.account_id, seen.livemode, seen.id, seen.generation)
   AND r.state NOT IN ('done', 'refused')
   AND (c.account_id, c.livemode, c.id) = (r.account_id, r.livemode, r.charge)
   AND (m.account_id, m.livemode, m.id) = (c.account_id, c.livemode, c.payment_method)
RETURNING r.account_id, r.livemode, r.id, r.charge, r.payment_intent, r.kind, r.state, r.amount, r.created_at, r.final,
       r.reason, r.acquirer_reference, r.refusal, r.refund, r.inquiries, c.acquirer_reference AS charge_reference, c.currency,
       m.card_reference;

-- charges_to_inquire
-- One charge with the reference of its card, to ask the acquirer about.
SELECT c.account_id, c.livemode, c.id, c.version, c.payment_intent, c.payment_method, c.state, c.amount, c.currency,
       c.capture_method, c.acquirer_key, c.created_at, c.amount_authorised, c.amount_captured, c.acquirer_reference,
       c.authentication, c.decline_code, c.failure_code, c.failure_message, c.voided_at,
       c.amount_refunded, c.refund_pending, c.dispute_withheld, c.disputed, m.card_reference
  FROM charge c
  JOIN payment_method m ON (m.account_id, m.livemode, m.id) = (c.account_id, c.livemode, c.payment_method)
 WHERE c.account_id = $1::text AND c.livemode = $2::boolean AND c.id = $3::text;

-- requests_to_inquire
-- One capture, void or refund with what the acquirer knows its charge by.
SELECT r.account_id, r.livemode, r.id, r.charge, r.payment_intent, r.kind, r.state, r.amount, r.created_at, r.final,
       r.reason, r.acquirer_reference, r.refusal, r.refund, c.acquirer_reference AS charge_reference, c.currency,
       m.card_reference
  FROM acquirer_request r
  JOIN charge c ON (c.account_id, c.livemode, c.id) = (r.account_id, r.livemode, r.charge)
  JOIN payment_method m ON (m.account_id, m.livemode, m.id) = (c.account_id, c.livemode, c.payment_method)
 WHERE r.account_id = $1::text AND r.livemode = $2::boolean AND r.id = $3::text;

-- intents_of_keys
-- The payments to which keys at the acquirer belong: those of charges and those of captures, voids and refunds.
SELECT wanted.account_id, wanted.livemode, wanted.key, coalesce(c.payment_intent, r.payment_intent) AS payment_intent,
       c.id AS charge
  FROM unnest($1::text[], $2::boolean[], $3::text[]) AS wanted(account_id, livemode, key)
  LEFT JOIN charge c
    ON (c.account_id, c.livemode, c.acquirer_key) = (wanted.account_id, wanted.livemode, wanted.key)
  LEFT JOIN acquirer_request r ON (r.account_id, r.livemode, r.id) = (wanted.account_id, wanted.livemode, wanted.key)
 ORDER BY wanted.account_id, wanted.livemode, wanted.key;

-- refunds_of_requests
-- The refunds that acquirer requests of locked intents carry out, and those that are named.
SELECT f.account_id, f.livemode, f.id, f.version, f.payment_intent, f.charge, f.status, f.amount, f.currency, f.created_at,
       f.reason, f.metadata, f.failure_reason, f.reference, f.over_refunded
  FROM refund f
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS wanted(account_id, livemode, id)
    ON (f.account_id, f.livemode, f.id) = (wanted.account_id, wanted.livemode, wanted.id)
 ORDER BY f.account_id, f.livemode, f.id;

-- insert_refunds
-- Record refunds before the acquirer is called.
INSERT INTO refund (account_id, livemode, id, version, payment_intent, charge, status, amount, currency, created_at, reason,
                    metadata, failure_reason, reference, over_refunded)
SELECT n.account_id, n.livemode, n.id, n.version, n.payment_intent, n.charge, n.status, n.amount, n.currency, n.created_at,
       n.reason, n.metadata::jsonb, n.failure_reason, n.reference, n.over_refunded
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::int[], $5::text[], $6::text[], $7::text[], $8::bigint[],
              $9::text[], $10::timestamptz[], $11::text[], $12::text[], $13::text[], $14::text[], $15::boolean[])
       AS n(account_id, livemode, id, version, payment_intent, charge, status, amount, currency, created_at, reason,
            metadata, failure_reason, reference, over_refunded);

-- update_refunds
-- Save what became of refunds, each only if it still has the status and version with which it was loaded.
UPDATE refund f
   SET version = f.version + 1, status = n.status, failure_reason = n.failure_reason, reference = n.reference,
       metadata = n.metadata::jsonb
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::text[], $5::int[], $6::text[], $7::text[], $8::text[], $9::text[])
       AS n(account_id, livemode, id, old_status, old_version, status, failure_reason, reference, metadata)
 WHERE (f.account_id, f.livemode, f.id) = (n.account_id, n.livemode, n.id)
   AND f.status = n.old_status AND f.version = n.old_version;

-- unknown_outcomes
-- What nobody knows the outcome of, behind an account and id, of one account where one is named: charges, captures, voids and
-- refunds; all, or those that a person must look at.
WITH u AS MATERIALIZED (
    SELECT c.account_id, c.livemode, c.id, 'charge' AS kind, c.payment_intent, c.id AS charge, c.amount, c.currency,
           c.created_at, coalesce(c.due_at, c.created_at) AS due_at, c.inquiries, c.case_at
      FROM charge c
     WHERE c.state IN ('created', 'sent', 'unknown') AND coalesce(c.due_at, c.created_at) < timestamptz 'infinity'
       AND c.state = 'unknown'
     UNION ALL
    SELECT r.account_id, r.livemode, r.id, r.kind, r.payment_intent, r.charge, r.amount, c.currency, r.created_at,
           coalesce(r.due_at, r.created_at), r.inquiries, r.case_at
      FROM acquirer_request r
      JOIN charge c ON (c.account_id, c.livemode, c.id) = (r.account_id, r.livemode, r.charge)
     WHERE r.state IN ('created', 'sent', 'unknown') AND coalesce(r.due_at, r.created_at) < timestamptz 'infinity'
       AND r.state = 'unknown'
)
SELECT u.account_id, u.livemode, u.id, u.kind, u.payment_intent, u.charge, u.amount, u.currency, u.created_at, u.due_at,
       u.inquiries, u.case_at
  FROM u
 WHERE (u.account_id, u.id) > ($1::text, $2::text) AND ($3::text IS NULL OR u.account_id = $3::text)
   AND (NOT $4::boolean OR u.case_at IS NOT NULL)
 ORDER BY u.account_id, u.id
 LIMIT $5::int;

-- insert_resolution
-- Keep what an operator decided about an unknown outcome, and on which evidence.
INSERT INTO outcome_resolution (account_id, livemode, id, object, outcome, reference, evidence, operator, created_at)
VALUES ($1::text, $2::boolean, $3::text, $4::text, $5::text, $6::text, $7::text, $8::text, $9::timestamptz);

-- disputes_of_intents
-- The disputes of locked intents.
SELECT d.account_id, d.livemode, d.id, d.version, d.payment_intent, d.charge, d.reference, d.status, d.amount, d.currency,
       d.reason, d.brand, d.created_at, d.evidence_due_at, d.evidence, d.submissions, d.metadata, d.contest_due_at
  FROM dispute d
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS wanted(account_id, livemode, id)
    ON (d.account_id, d.livemode, d.payment_intent) = (wanted.account_id, wanted.livemode, wanted.id)
 ORDER BY d.account_id, d.livemode, d.id;

-- insert_disputes
-- Record disputes that a bank told of.
INSERT INTO dispute (account_id, livemode, id, version, payment_intent, charge, reference, status, amount, currency, reason,
                     brand, created_at, evidence_due_at, evidence, submissions, metadata, contest_due_at)
SELECT n.account_id, n.livemode, n.id, n.version, n.payment_intent, n.charge, n.reference, n.status, n.amount, n.currency,
       n.reason, n.brand, n.created_at, n.evidence_due_at, n.evidence::jsonb, n.submissions, n.metadata::jsonb,
       n.contest_due_at
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::int[], $5::text[], $6::text[], $7::text[], $8::text[],
              $9::bigint[], $10::text[], $11::text[], $12::text[], $13::timestamptz[], $14::timestamptz[], $15::text[],
              $16::int[], $17::text[], $18::timestamptz[])
       AS n(account_id, livemode, id, version, payment_intent, charge, reference, status, amount, currency, reason, brand,
            created_at, evidence_due_at, evidence, submissions, metadata, contest_due_at);

-- update_disputes
-- Save what became of disputes, each only if it still has the status and version with which it was loaded.
UPDATE dispute d
   SET version = d.version + 1, status = n.status, evidence = n.evidence::jsonb, submissions = n.submissions,
       metadata = n.metadata::jsonb, contest_due_at = n.contest_due_at
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::text[], $5::int[], $6::text[], $7::text[], $8::int[], $9::text[],
              $10::timestamptz[])
       AS n(account_id, livemode, id, old_status, old_version, status, evidence, submissions, metadata, contest_due_at)
 WHERE (d.account_id, d.livemode, d.id) = (n.account_id, n.livemode, n.id)
   AND d.status = n.old_status AND d.version = n.old_version;

-- attach_methods
-- Cards that are saved for a customer, because a payment with them succeeded.
UPDATE payment_method m
   SET customer = n.customer, attached_at = n.attached_at
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::text[], $5::timestamptz[])
       AS n(account_id, livemode, id, customer, attached_at)
 WHERE (m.account_id, m.livemode, m.id) = (n.account_id, n.livemode, n.id) AND m.attached_at IS NULL AND NOT m.single_use;
