-- find_intents
-- Payment intents by id, for retrieving and expanding.
SELECT i.account_id, i.livemode, i.id, i.version, i.status, i.amount, i.currency, i.capture_method, i.client_secret, i.created_at,
       i.amount_capturable, i.amount_received, i.payment_method, i.latest_charge, i.checkout_session, i.description, i.metadata,
       i.last_payment_error, i.next_action, i.return_url, i.cancellation_reason, i.capture_before_at, i.canceled_at,
       i.customer, i.setup_future_usage
  FROM payment_intent i
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS wanted(account_id, livemode, id)
    ON (i.account_id, i.livemode, i.id) = (wanted.account_id, wanted.livemode, wanted.id)
 ORDER BY i.account_id, i.livemode, i.id;

-- find_charges
-- Charges by id, for retrieving and expanding; those that wait for 3DS exist only for us.
SELECT c.account_id, c.livemode, c.id, c.version, c.payment_intent, c.payment_method, c.state, c.amount, c.currency,
       c.capture_method, c.acquirer_key, c.created_at, c.amount_authorised, c.amount_captured, c.acquirer_reference,
       c.authentication, c.decline_code, c.failure_code, c.failure_message, c.voided_at,
       c.amount_refunded, c.refund_pending, c.dispute_withheld, c.disputed
  FROM charge c
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS wanted(account_id, livemode, id)
    ON (c.account_id, c.livemode, c.id) = (wanted.account_id, wanted.livemode, wanted.id)
 WHERE c.state NOT IN ('authenticating', 'abandoned')
 ORDER BY c.account_id, c.livemode, c.id;

-- find_methods
-- Payment methods by id, for retrieving and expanding.
SELECT m.account_id, m.livemode, m.id, m.card_reference, m.brand, m.first6, m.last4, m.exp_month, m.exp_year, m.fingerprint,
       m.authentication_required, m.created_at, m.metadata, m.customer, m.attached_at, m.vault_token, m.single_use
  FROM payment_method m
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS wanted(account_id, livemode, id)
    ON (m.account_id, m.livemode, m.id) = (wanted.account_id, wanted.livemode, wanted.id)
 ORDER BY m.account_id, m.livemode, m.id;

-- find_refunds
-- Refunds by id, for retrieving and expanding.
SELECT f.account_id, f.livemode, f.id, f.version, f.payment_intent, f.charge, f.status, f.amount, f.currency, f.created_at,
       f.reason, f.metadata, f.failure_reason, f.reference, f.over_refunded
  FROM refund f
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS wanted(account_id, livemode, id)
    ON (f.account_id, f.livemode, f.id) = (wanted.account_id, wanted.livemode, wanted.id)
 ORDER BY f.account_id, f.livemode, f.id;

-- find_sessions
-- Checkout sessions by id, for retrieving and expanding.
SELECT s.account_id, s.livemode, s.id, s.version, s.status, s.payment_status, s.amount_total, s.currency, s.line_items, s.ui_mode,
       s.expires_at, s.created_at, s.payment_intent, s.success_url, s.cancel_url, s.return_url, s.client_reference_id,
       s.client_secret, s.metadata, s.payment_intent_data, s.decline_count, s.completed_at, s.customer, s.saves_card
  FROM checkout_session s
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS wanted(account_id, livemode, id)
    ON (s.account_id, s.livemode, s.id) = (wanted.account_id, wanted.livemode, wanted.id)
 ORDER BY s.account_id, s.livemode, s.id;

-- find_events
-- Events by id with the number of their deliveries that have not arrived yet.
SELECT e.account_id, e.livemode, e.id, e.type, e.object, e.previous, e.request_id, e.idempotency_key, e.created_at,
       (SELECT count(*) FROM delivery d WHERE d.owner_id = e.account_id AND d.message = e.id AND d.state IN ('due', 'held'))
           AS pending_webhooks
  FROM event e
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS wanted(account_id, livemode, id)
    ON (e.account_id, e.livemode, e.id) = (wanted.account_id, wanted.livemode, wanted.id)
 ORDER BY e.account_id, e.livemode, e.id;

-- find_endpoints
-- Webhook endpoints by id; deleted ones are gone, secrets are never read here.
SELECT w.account_id, w.livemode, w.id, w.url, w.status, w.enabled_events, w.api_version, w.description, w.metadata, w.created_at
  FROM webhook_endpoint w
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS wanted(account_id, livemode, id)
    ON (w.account_id, w.livemode, w.id) = (wanted.account_id, wanted.livemode, wanted.id)
 WHERE w.deleted_at IS NULL
 ORDER BY w.account_id, w.livemode, w.id;

-- page_of_intents
-- Ids of payment intents between two ids, created in a span of time, newest first.
SELECT i.id
  FROM payment_intent i
 WHERE i.account_id = $1::text AND i.livemode = $2::boolean AND i.id > $3::text AND i.id < $4::text
   AND i.created_at >= $5::timestamptz AND i.created_at < $6::timestamptz
 ORDER BY i.account_id DESC, i.livemode DESC, i.id DESC
 LIMIT $7::int;

-- page_of_intents_backwards
-- The same, oldest first: the page that ends before an object.
SELECT i.id
  FROM payment_intent i
 WHERE i.account_id = $1::text AND i.livemode = $2::boolean AND i.id > $3::text AND i.id < $4::text
   AND i.created_at >= $5::timestamptz AND i.created_at < $6::timestamptz
 ORDER BY i.account_id, i.livemode, i.id
 LIMIT $7::int;

-- page_of_charges
-- Ids of charges between two ids, created in a span of time, of one intent where one is named, newest first.
SELECT c.id
  FROM charge c
 WHERE c.account_id = $1::text AND c.livemode = $2::boolean AND c.id > $3::text AND c.id < $4::text
   AND c.created_at >= $5::timestamptz AND c.created_at < $6::timestamptz
   AND c.state NOT IN ('authenticating', 'abandoned')
   AND ($8::text IS NULL OR c.payment_intent = $8::text)
 ORDER BY c.account_id DESC, c.livemode DESC, c.id DESC
 LIMIT $7::int;

-- page_of_charges_backwards
-- The same, oldest first: the page that ends before an object.
SELECT c.id
  FROM charge c
 WHERE c.account_id = $1::text AND c.livemode = $2::boolean AND c.id > $3::text AND c.id < $4::text
   AND c.created_at >= $5::timestamptz AND c.created_at < $6::timestamptz
   AND c.state NOT IN ('authenticating', 'abandoned')
   AND ($8::text IS NULL OR c.payment_intent = $8::text)
 ORDER BY c.account_id, c.livemode, c.id
 LIMIT $7::int;

-- page_of_sessions
-- Ids of checkout sessions between two ids, created in a span of time, of one intent and status where named, newest first.
SELECT s.id
  FROM checkout_session s
 WHERE s.account_id = $1::text AND s.livemode = $2::boolean AND s.id > $3::text AND s.id < $4::text
   AND s.created_at >= $5::timestamptz AND s.created_at < $6::timestamptz
   AND ($8::text IS NULL OR s.payment_intent = $8::text)
   AND ($9::text IS NULL OR s.status = $9::text)
 ORDER BY s.account_id DESC, s.livemode DESC, s.id DESC
 LIMIT $7::int;

-- page_of_sessions_backwards
-- The same, oldest first: the page that ends before an object.
SELECT s.id
  FROM checkout_session s
 WHERE s.account_id = $1::text AND s.livemode = $2::boolean AND s.id > $3::text AND s.id < $4::text
   AND s.created_at >= $5::timestamptz AND s.created_at < $6::timestamptz
   AND ($8::text IS NULL OR s.payment_intent = $8::text)
   AND ($9::text IS NULL OR s.status = $9::text)
 ORDER BY s.account_id, s.livemode, s.id
 LIMIT $7::int;

-- page_of_events
-- Ids of events between two ids, created in a span of time, of some types and with or without undelivered ones, newest first.
SELECT e.id
  FROM event e
 WHERE e.account_id = $1::text AND e.livemode = $2::boolean AND e.id > $3::text AND e.id < $4::text
   AND e.created_at >= $5::timestamptz AND e.created_at < $6::timestamptz
   AND ($8::text[] IS NULL OR e.type LIKE ANY ($8::text[]))
   AND ($9::boolean IS NULL OR $9::boolean = NOT EXISTS (
           SELECT FROM delivery d WHERE d.owner_id = e.account_id AND d.message = e.id AND d.state IN ('due', 'held', 'dead')))
 ORDER BY e.account_id DESC, e.livemode DESC, e.id DESC
 LIMIT $7::int;

-- page_of_events_backwards
-- The same, oldest first: the page that ends before an object.
SELECT e.id
  FROM event e
 WHERE e.account_id = $1::text AND e.livemode = $2::boolean AND e.id > $3::text AND e.id < $4::text
   AND e.created_at >= $5::timestamptz AND e.created_at < $6::timestamptz
   AND ($8::text[] IS NULL OR e.type LIKE ANY ($8::text[]))
   AND ($9::boolean IS NULL OR $9::boolean = NOT EXISTS (
           SELECT FROM delivery d WHERE d.owner_id = e.account_id AND d.message = e.id AND d.state IN ('due', 'held', 'dead')))
 ORDER BY e.account_id, e.livemode, e.id
 LIMIT $7::int;

-- page_of_undelivered
-- The same of events that somebody has not got, found by what is undelivered: few, among however many events.
SELECT e.id
  FROM (SELECT DISTINCT d.message
          FROM delivery d
         WHERE d.owner_id = $1::text AND d.livemode = $2::boolean AND d.message > $3::text AND d.message < $4::text
           AND d.state IN ('due', 'held', 'dead')
         ORDER BY d.message DESC) AS undelivered
  JOIN event e ON (e.account_id, e.livemode, e.id) = ($1::text, $2::boolean, undelivered.message)
 WHERE e.created_at >= $5::timestamptz AND e.created_at < $6::timestamptz
   AND ($8::text[] IS NULL OR e.type LIKE ANY ($8::text[]))
 ORDER BY undelivered.message DESC
 LIMIT $7::int;

-- page_of_undelivered_backwards
-- The same, oldest first: the page that ends before an object.
SELECT e.id
  FROM (SELECT DISTINCT d.message
          FROM delivery d
         WHERE d.owner_id = $1::text AND d.livemode = $2::boolean AND d.message > $3::text AND d.message < $4::text
           AND d.state IN ('due', 'held', 'dead')
         ORDER BY d.message) AS undelivered
  JOIN event e ON (e.account_id, e.livemode, e.id) = ($1::text, $2::boolean, undelivered.message)
 WHERE e.created_at >= $5::timestamptz AND e.created_at < $6::timestamptz
   AND ($8::text[] IS NULL OR e.type LIKE ANY ($8::text[]))
 ORDER BY undelivered.message
 LIMIT $7::int;

-- page_of_endpoints
-- Ids of webhook endpoints between two ids, created in a span of time, newest first.
SELECT w.id
  FROM webhook_endpoint w
 WHERE w.account_id = $1::text AND w.livemode = $2::boolean AND w.id > $3::text AND w.id < $4::text
   AND w.created_at >= $5::timestamptz AND w.created_at < $6::timestamptz
   AND w.deleted_at IS NULL
 ORDER BY w.account_id DESC, w.livemode DESC, w.id DESC
 LIMIT $7::int;

-- page_of_endpoints_backwards
-- The same, oldest first: the page that ends before an object.
SELECT w.id
  FROM webhook_endpoint w
 WHERE w.account_id = $1::text AND w.livemode = $2::boolean AND w.id > $3::text AND w.id < $4::text
   AND w.created_at >= $5::timestamptz AND w.created_at < $6::timestamptz
   AND w.deleted_at IS NULL
 ORDER BY w.account_id, w.livemode, w.id
 LIMIT $7::int;

-- page_of_refunds
-- Ids of refunds between two ids, created in a span of time, of one intent or charge where named, newest first.
SELECT f.id
  FROM refund f
 WHERE f.account_id = $1::text AND f.livemode = $2::boolean AND f.id > $3::text AND f.id < $4::text
   AND f.created_at >= $5::timestamptz AND f.created_at < $6::timestamptz
   AND ($8::text IS NULL OR f.payment_intent = $8::text)
   AND ($9::text IS NULL OR f.charge = $9::text)
 ORDER BY f.account_id DESC, f.livemode DESC, f.id DESC
 LIMIT $7::int;

-- page_of_refunds_backwards
-- The same, oldest first: the page that ends before an object.
SELECT f.id
  FROM refund f
 WHERE f.account_id = $1::text AND f.livemode = $2::boolean AND f.id > $3::text AND f.id < $4::text
   AND f.created_at >= $5::timestamptz AND f.created_at < $6::timestamptz
   AND ($8::text IS NULL OR f.payment_intent = $8::text)
   AND ($9::text IS NULL OR f.charge = $9::text)
 ORDER BY f.account_id, f.livemode, f.id
 LIMIT $7::int;

-- page_of_transactions
-- Ids of balance transactions between two ids, created in a span of time, of some kinds and in one currency, newest first.
SELECT t.id
  FROM ledger_transaction t
 WHERE t.account_id = $1::text AND t.livemode = $2::boolean AND t.id > $3::text AND t.id < $4::text
   AND t.created_at >= $5::timestamptz AND t.created_at < $6::timestamptz
   AND t.kind = ANY ($8::text[])
   AND ($9::text IS NULL OR t.currency = $9::text)
 ORDER BY t.account_id DESC, t.livemode DESC, t.id DESC
 LIMIT $7::int;

-- page_of_transactions_backwards
-- The same, oldest first: the page that ends before an object.
SELECT t.id
  FROM ledger_transaction t
 WHERE t.account_id = $1::text AND t.livemode = $2::boolean AND t.id > $3::text AND t.id < $4::text
   AND t.created_at >= $5::timestamptz AND t.created_at < $6::timestamptz
   AND t.kind = ANY ($8::text[])
   AND ($9::text IS NULL OR t.currency = $9::text)
 ORDER BY t.account_id, t.livemode, t.id
 LIMIT $7::int;

-- page_of_transactions_of_source
-- The same of what one object caused: found by the references that it may stand under, captures and voids by their charge.
SELECT t.id
  FROM (SELECT r.id FROM ledger_transaction r
         WHERE r.account_id = $1::text AND r.livemode = $2::boolean AND r.reference = ANY ($11::text[])
         UNION
        SELECT c.id FROM ledger_transaction c
         WHERE c.account_id = $1::text AND c.livemode = $2::boolean AND c.charge = $10::text AND c.kind IN ('capture', 'void')) AS found
  JOIN ledger_transaction t ON (t.account_id, t.livemode, t.id) = ($1::text, $2::boolean, found.id)
 WHERE t.id > $3::text AND t.id < $4::text
   AND t.created_at >= $5::timestamptz AND t.created_at < $6::timestamptz
   AND t.kind = ANY ($8::text[])
   AND ($9::text IS NULL OR t.currency = $9::text)
 ORDER BY t.id DESC
 LIMIT $7::int;

-- page_of_transactions_of_source_backwards
-- The same, oldest first: the page that ends before an object.
SELECT t.id
  FROM (SELECT r.id FROM ledger_transaction r
         WHERE r.account_id = $1::text AND r.livemode = $2::boolean AND r.reference = ANY ($11::text[])
         UNION
        SELECT c.id FROM ledger_transaction c
         WHERE c.account_id = $1::text AND c.livemode = $2::boolean AND c.charge = $10::text AND c.kind IN ('capture', 'void')) AS found
  JOIN ledger_transaction t ON (t.account_id, t.livemode, t.id) = ($1::text, $2::boolean, found.id)
 WHERE t.id > $3::text AND t.id < $4::text
   AND t.created_at >= $5::timestamptz AND t.created_at < $6::timestamptz
   AND t.kind = ANY ($8::text[])
   AND ($9::text IS NULL OR t.currency = $9::text)
 ORDER BY t.id
 LIMIT $7::int;

-- find_disputes
-- Disputes by id, for retrieving and expanding.
SELECT d.account_id, d.livemode, d.id, d.version, d.payment_intent, d.charge, d.reference, d.status, d.amount, d.currency, d.reason,
       d.brand, d.created_at, d.evidence_due_at, d.evidence, d.submissions, d.metadata, d.contest_due_at
  FROM dispute d
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS wanted(account_id, livemode, id)
    ON (d.account_id, d.livemode, d.id) = (wanted.account_id, wanted.livemode, wanted.id)
 ORDER BY d.account_id, d.livemode, d.id;

-- page_of_disputes
-- Ids of disputes between two ids, created in a span of time, of one intent or charge where named, newest first.
SELECT d.id
  FROM dispute d
 WHERE d.account_id = $1::text AND d.livemode = $2::boolean AND d.id > $3::text AND d.id < $4::text
   AND d.created_at >= $5::timestamptz AND d.created_at < $6::timestamptz
   AND ($8::text IS NULL OR d.payment_intent = $8::text)
   AND ($9::text IS NULL OR d.charge = $9::text)
 ORDER BY d.account_id DESC, d.livemode DESC, d.id DESC
 LIMIT $7::int;

-- page_of_disputes_backwards
-- The same, oldest first: the page that ends before an object.
SELECT d.id
  FROM dispute d
 WHERE d.account_id = $1::text AND d.livemode = $2::boolean AND d.id > $3::text AND d.id < $4::text
   AND d.created_at >= $5::timestamptz AND d.created_at < $6::timestamptz
   AND ($8::text IS NULL OR d.payment_intent = $8::text)
   AND ($9::text IS NULL OR d.charge = $9::text)
 ORDER BY d.account_id, d.livemode, d.id
 LIMIT $7::int;

-- find_payouts
-- Payouts by id, for retrieving and expanding.
SELECT p.account_id, p.livemode, p.id, p.currency, p.day, p.amount, p.status, p.arrival_at, p.created_at, p.automatic, p.description,
       p.statement_descriptor, p.metadata::text AS metadata
  FROM payout p
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS wanted(account_id, livemode, id)
    ON (p.account_id, p.livemode, p.id) = (wanted.account_id, wanted.livemode, wanted.id)
 ORDER BY p.account_id, p.livemode, p.id;

-- page_of_payouts
-- Ids of payouts between two ids, created in a span of time, in one status where one is named, newest first.
SELECT p.id
  FROM payout p
 WHERE p.account_id = $1::text AND p.livemode = $2::boolean AND p.id > $3::text AND p.id < $4::text
   AND p.created_at >= $5::timestamptz AND p.created_at < $6::timestamptz
   AND ($8::text IS NULL OR p.status = $8::text)
 ORDER BY p.account_id DESC, p.livemode DESC, p.id DESC
 LIMIT $7::int;

-- page_of_payouts_backwards
-- The same, oldest first: the page that ends before an object.
SELECT p.id
  FROM payout p
 WHERE p.account_id = $1::text AND p.livemode = $2::boolean AND p.id > $3::text AND p.id < $4::text
   AND p.created_at >= $5::timestamptz AND p.created_at < $6::timestamptz
   AND ($8::text IS NULL OR p.status = $8::text)
 ORDER BY p.account_id, p.livemode, p.id
 LIMIT $7::int;

-- page_of_transactions_of_payout
-- The same of what went with one payout, and the payout itself.
SELECT t.id
  FROM (SELECT r.ledger_transaction AS id FROM balance_release r
         WHERE r.account_id = $1::text AND r.livemode = $2::boolean AND r.payout = $10::text
         UNION
        SELECT o.id FROM ledger_transaction o
         WHERE o.account_id = $1::text AND o.livemode = $2::boolean AND o.reference = 'payout:' || $10::text) AS found
  JOIN ledger_transaction t ON (t.account_id, t.livemode, t.id) = ($1::text, $2::boolean, found.id)
 WHERE t.id > $3::text AND t.id < $4::text
   AND t.created_at >= $5::timestamptz AND t.created_at < $6::timestamptz
   AND t.kind = ANY ($8::text[])
   AND ($9::text IS NULL OR t.currency = $9::text)
 ORDER BY t.id DESC
 LIMIT $7::int;

-- page_of_transactions_of_payout_backwards
-- The same, oldest first: the page that ends before an object.
SELECT t.id
  FROM (SELECT r.ledger_transaction AS id FROM balance_release r
         WHERE r.account_id = $1::text AND r.livemode = $2::boolean AND r.payout = $10::text
         UNION
        SELECT o.id FROM ledger_transaction o
         WHERE o.account_id = $1::text AND o.livemode = $2::boolean AND o.reference = 'payout:' || $10::text) AS found
  JOIN ledger_transaction t ON (t.account_id, t.livemode, t.id) = ($1::text, $2::boolean, found.id)
 WHERE t.id > $3::text AND t.id < $4::text
   AND t.created_at >= $5::timestamptz AND t.created_at < $6::timestamptz
   AND t.kind = ANY ($8::text[])
   AND ($9::text IS NULL OR t.currency = $9::text)
 ORDER BY t.id
 LIMIT $7::int;

-- find_runs
-- Report runs by id.
SELECT r.account_id, r.livemode, r.id, r.report_type, r.parameters, r.currency, r.columns, r.reports, r.last_day, r.status,
       r.created_at, r.file, r.size_bytes, r.manifest, r.succeeded_at
  FROM report_run r
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS wanted(account_id, livemode, id)
    ON (r.account_id, r.livemode, r.id) = (wanted.account_id, wanted.livemode, wanted.id)
 ORDER BY r.account_id, r.livemode, r.id;

-- find_files
-- The report runs that wrote these files.
SELECT r.account_id, r.livemode, r.id, r.report_type, r.parameters, r.currency, r.columns, r.reports, r.last_day, r.status,
       r.created_at, r.file, r.size_bytes, r.manifest, r.succeeded_at
  FROM report_run r
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS wanted(account_id, livemode, file)
    ON (r.account_id, r.livemode, r.file) = (wanted.account_id, wanted.livemode, wanted.file)
 ORDER BY r.account_id, r.livemode, r.id;

-- page_of_runs
-- Ids of report runs between two ids, created in a span of time, newest first.
SELECT r.id
  FROM report_run r
 WHERE r.account_id = $1::text AND r.livemode = $2::boolean AND r.id > $3::text AND r.id < $4::text
   AND r.created_at >= $5::timestamptz AND r.created_at < $6::timestamptz
 ORDER BY r.account_id DESC, r.livemode DESC, r.id DESC
 LIMIT $7::int;

-- page_of_runs_backwards
-- The same, oldest first: the page that ends before an object.
SELECT r.id
  FROM report_run r
 WHERE r.account_id = $1::text AND r.livemode = $2::boolean AND r.id > $3::text AND r.id < $4::text
   AND r.created_at >= $5::timestamptz AND r.created_at < $6::timestamptz
 ORDER BY r.account_id, r.livemode, r.id
 LIMIT $7::int;
