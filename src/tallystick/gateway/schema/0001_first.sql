-- The gateway's tables. Every key begins with the owner (account_id) and the mode (livemode); ids are made by the application.
-- COLLATE "C" on ids keeps their order the order of time, whatever the server's locale.

CREATE TABLE account (
    account_id          text COLLATE "C" PRIMARY KEY,
    name                text NOT NULL,
    default_api_version text,                       -- the first Stripe-Version seen
    origins             text[] NOT NULL DEFAULT '{}', -- where return URLs may lead and embedded pages may stand
    several_captures    boolean NOT NULL DEFAULT false, -- whether a charge may be captured in parts (final_capture=false)
    created_at          timestamptz NOT NULL
);

-- Directory: the hash of a key finds its owner. The one table whose key is not the owner.
CREATE TABLE api_key (
    key_hash   bytea PRIMARY KEY,
    account_id text COLLATE "C" NOT NULL,
    livemode   boolean NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('secret', 'publishable')),
    hint       text NOT NULL,                       -- prefix and last four, for lists
    created_at timestamptz NOT NULL,
    revoked_at timestamptz
);
CREATE INDEX api_key_of_account ON api_key (account_id, created_at);

CREATE TABLE idempotency_key (
    owner_id     text COLLATE "C" NOT NULL,
    mode         text NOT NULL CHECK (mode IN ('test', 'live')),
    key          text COLLATE "C" NOT NULL,
    fingerprint  bytea NOT NULL,
    state        text NOT NULL CHECK (state IN ('running', 'done')),
    recovery     text,                              -- what the holder recorded before it called outside
    status       int,
    body         bytea,
    generation   int NOT NULL,
    lease_until  timestamptz NOT NULL,
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (owner_id, mode, key),
    CHECK ((state = 'done') = (status IS NOT NULL AND body IS NOT NULL))
) WITH (fillfactor = 80);

CREATE TABLE payment_method (
    account_id     text COLLATE "C" NOT NULL,
    livemode       boolean NOT NULL,
    id             text COLLATE "C" NOT NULL,
    card_reference text NOT NULL,                   -- the acquirer's token for the card, never a number
    brand          text NOT NULL,
    first6         text NOT NULL CHECK (first6 ~ '^[0-9]{6}$'),
    last4          text NOT NULL CHECK (last4 ~ '^[0-9]{4}$'),
    exp_month      int NOT NULL CHECK (exp_month BETWEEN 1 AND 12),
    exp_year       int NOT NULL CHECK (exp_year BETWEEN 2000 AND 2100),
    fingerprint    text NOT NULL,
    authentication_required boolean NOT NULL,       -- the card asks for 3DS
    metadata       jsonb NOT NULL DEFAULT '{}',
    created_at     timestamptz NOT NULL,
    PRIMARY KEY (account_id, livemode, id)
);

CREATE TABLE payment_intent (
    account_id          text COLLATE "C" NOT NULL,
    livemode            boolean NOT NULL,
    id                  text COLLATE "C" NOT NULL,
    version             int NOT NULL,
    status              text NOT NULL CHECK (status IN ('requires_payment_method', 'requires_confirmation', 'requires_action',
                            'processing', 'requires_capture', 'succeeded', 'canceled')),
    amount              bigint NOT NULL CHECK (amount BETWEEN 1 AND 999999999999),
    currency            text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    capture_method      text NOT NULL CHECK (capture_method IN ('automatic', 'manual')),
    amount_capturable   bigint NOT NULL DEFAULT 0 CHECK (amount_capturable BETWEEN 0 AND amount),
    amount_received     bigint NOT NULL DEFAULT 0 CHECK (amount_received BETWEEN 0 AND amount),
    payment_method      text COLLATE "C",
    latest_charge       text COLLATE "C",
    checkout_session    text COLLATE "C",
    client_secret       text NOT NULL,
    description         text,
    metadata            jsonb NOT NULL DEFAULT '{}',
    last_payment_error  jsonb,
    next_action         jsonb,
    return_url          text,
    cancellation_reason text,
    capture_before_at   timestamptz,
    canceled_at         timestamptz,
    created_at          timestamptz NOT NULL,
    PRIMARY KEY (account_id, livemode, id),
    CHECK ((status = 'canceled') = (canceled_at IS NOT NULL)),
    CHECK (status = 'requires_capture' OR amount_capturable = 0),
    CHECK (amount_received + amount_capturable <= amount)
) WITH (fillfactor = 80);
CREATE INDEX payment_intent_capture_due ON payment_intent (capture_before_at) WHERE status = 'requires_capture';

CREATE TABLE checkout_session (
    account_id          text COLLATE "C" NOT NULL,
    livemode            boolean NOT NULL,
    id                  text COLLATE "C" NOT NULL,
    version             int NOT NULL,
    status              text NOT NULL CHECK (status IN ('open', 'complete', 'expired')),
    payment_status      text NOT NULL CHECK (payment_status IN ('unpaid', 'paid')),
    payment_intent      text COLLATE "C",
    amount_total        bigint NOT NULL CHECK (amount_total BETWEEN 1 AND 999999999999),
    currency            text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    line_items          jsonb NOT NULL,             -- [{"name", "amount", "quantity"}] in minor units
    ui_mode             text NOT NULL CHECK (ui_mode IN ('hosted_page', 'embedded_page')),
    success_url         text,
    cancel_url          text,
    return_url          text,
    client_reference_id text,
    client_secret       text,
    metadata            jsonb NOT NULL DEFAULT '{}',
    payment_intent_data jsonb NOT NULL DEFAULT '{}', -- capture_method, description, metadata for the intent to come
    decline_count       int NOT NULL DEFAULT 0 CHECK (decline_count >= 0),
    expires_at          timestamptz NOT NULL,
    completed_at        timestamptz,
    created_at          timestamptz NOT NULL,
    PRIMARY KEY (account_id, livemode, id),
    CHECK (payment_status = 'unpaid' OR status = 'complete')
) WITH (fillfactor = 80);
CREATE INDEX checkout_session_open ON checkout_session (expires_at) WHERE status = 'open';
CREATE INDEX checkout_session_of_intent ON checkout_session (account_id, livemode, payment_intent) WHERE payment_intent IS NOT NULL;

CREATE TABLE charge (
    account_id          text COLLATE "C" NOT NULL,
    livemode            boolean NOT NULL,
    id                  text COLLATE "C" NOT NULL,  -- carries its account, so that the bare URL of a 3DS page finds it
    version             int NOT NULL,
    payment_intent      text COLLATE "C" NOT NULL,
    payment_method      text COLLATE "C" NOT NULL,
    state               text NOT NULL CHECK (state IN (
                            'authenticating',       -- 3DS asked for; nothing at the acquirer yet
                            'created',              -- committed, the acquirer not called yet
                            'sent',                 -- the call is under way
                            'unknown',              -- the call's outcome is not known
                            'approved', 'declined', -- what the acquirer said
                            'abandoned',            -- 3DS failed or was left; never sent
                            'reversing', 'reversed')), -- approved when it no longer may: voided or refunded at once
    amount              bigint NOT NULL CHECK (amount > 0),
    currency            text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    capture_method      text NOT NULL CHECK (capture_method IN ('automatic', 'manual')),
    amount_authorised   bigint NOT NULL DEFAULT 0 CHECK (amount_authorised >= 0),
    amount_captured     bigint NOT NULL DEFAULT 0 CHECK (amount_captured BETWEEN 0 AND amount_authorised),
    acquirer_key        text NOT NULL,              -- our reference at the acquirer: every call and inquiry carries it
    acquirer_reference  text,
    authentication      text,                       -- the acquirer's reference of the 3DS challenge
    decline_code        text,
    failure_code        text,
    failure_message     text,
    voided_at           timestamptz,
    lease_until         timestamptz,
    generation          int NOT NULL DEFAULT 0,
    due_at              timestamptz,
    created_at          timestamptz NOT NULL,
    PRIMARY KEY (account_id, livemode, id),
    UNIQUE (account_id, livemode, acquirer_key)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX charge_one_live ON charge (account_id, livemode, payment_intent)
    WHERE state IN ('authenticating', 'created', 'sent', 'unknown', 'approved');
CREATE INDEX charge_of_intent ON charge (account_id, livemode, payment_intent, id);

-- Captures and voids at the acquirer: committed before the call, like charges.
CREATE TABLE acquirer_request (
    account_id         text COLLATE "C" NOT NULL,
    livemode           boolean NOT NULL,
    id                 text COLLATE "C" NOT NULL,   -- its own id is the key at the acquirer
    charge             text COLLATE "C" NOT NULL,
    payment_intent     text COLLATE "C" NOT NULL,
    kind               text NOT NULL CHECK (kind IN ('capture', 'void')),
    state              text NOT NULL CHECK (state IN ('created', 'sent', 'done', 'refused', 'unknown')),
    amount             bigint NOT NULL CHECK (amount > 0),
    final              boolean NOT NULL DEFAULT true,
    reason             text,                        -- why the intent is canceled once a void is done
    acquirer_reference text,
    refusal            text,
    lease_until        timestamptz,
    generation         int NOT NULL DEFAULT 0,
    due_at             timestamptz,
    created_at         timestamptz NOT NULL,
    PRIMARY KEY (account_id, livemode, id)
) WITH (fillfactor = 80);
-- One per charge, not per intent: an approval that came too late is voided whatever else is under way.
CREATE UNIQUE INDEX acquirer_request_one_open ON acquirer_request (account_id, livemode, charge)
    WHERE state IN ('created', 'sent', 'unknown');
CREATE INDEX acquirer_request_of_intent ON acquirer_request (account_id, livemode, payment_intent);

-- A ledger transaction is one row with its legs as arrays, so that zero-sum is a CHECK (RULES §10).
CREATE FUNCTION ledger_sum(amounts bigint[]) RETURNS numeric
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS 'SELECT coalesce(sum(amount), 0) FROM unnest(amounts) AS leg(amount)';

CREATE TABLE ledger_transaction (
    account_id     text COLLATE "C" NOT NULL,
    livemode       boolean NOT NULL,
    id             text COLLATE "C" NOT NULL,
    kind           text NOT NULL CHECK (kind IN ('charge', 'capture', 'void')),
    reference      text COLLATE "C" NOT NULL,       -- what caused it, e.g. charge:ch_…; stops a second posting of the same cause
    payment_intent text COLLATE "C",
    charge         text COLLATE "C",
    currency       text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    accounts       text[] NOT NULL,
    amounts        bigint[] NOT NULL,               -- debit positive, credit negative, minor units
    effective_at   timestamptz NOT NULL,
    created_at     timestamptz NOT NULL,
    PRIMARY KEY (account_id, livemode, id),
    UNIQUE (account_id, livemode, reference),
    CHECK (cardinality(accounts) = cardinality(amounts) AND cardinality(accounts) >= 2),
    CHECK (ledger_sum(amounts) = 0),
    CHECK (accounts <@ ARRAY['acquirer_receivable', 'merchant_pending', 'merchant_available', 'payout_in_transit', 'settlement_bank',
        'refund_clearing', 'dispute_clearing', 'fee_revenue', 'acquirer_fees', 'rounding'])
);

CREATE TABLE event (
    account_id      text COLLATE "C" NOT NULL,
    livemode        boolean NOT NULL,
    id              text COLLATE "C" NOT NULL,
    type            text NOT NULL,
    object_id       text COLLATE "C" NOT NULL,
    object          text NOT NULL,                  -- JSON of data.object as it was, in our one shape
    previous        text,                           -- JSON of data.previous_attributes
    request_id      text,
    idempotency_key text,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (account_id, livemode, id)
);
CREATE INDEX event_of_object ON event (account_id, livemode, object_id, id);

CREATE TABLE webhook_endpoint (
    account_id     text COLLATE "C" NOT NULL,
    livemode       boolean NOT NULL,
    id             text COLLATE "C" NOT NULL,
    url            text NOT NULL,
    status         text NOT NULL CHECK (status IN ('enabled', 'disabled')),
    enabled_events text[] NOT NULL,
    api_version    text,
    description    text,
    metadata       jsonb NOT NULL DEFAULT '{}',
    secrets        text[] NOT NULL CHECK (cardinality(secrets) BETWEEN 1 AND 4), -- live signing secrets, newest first
    retry_delays_s int[] CHECK (cardinality(retry_delays_s) <= 32), -- its own retry schedule; null: the default one
    created_at     timestamptz NOT NULL,
    deleted_at     timestamptz,
    PRIMARY KEY (account_id, livemode, id)
);

-- What is sent is what was signed: the bytes of a message, once per message and API version.
CREATE TABLE message (
    owner_id    text COLLATE "C" NOT NULL,
    id          text COLLATE "C" NOT NULL,          -- the event's id: `webhook-id`, the same on every try
    api_version text NOT NULL,
    body        bytea NOT NULL,
    PRIMARY KEY (owner_id, id, api_version)
);

-- One message to one endpoint (RULES §1 delivery); the engine in kernel/delivery claims, sends and records.
CREATE TABLE delivery (
    owner_id    text COLLATE "C" NOT NULL,
    id          text COLLATE "C" NOT NULL,
    livemode    boolean NOT NULL,
    message     text COLLATE "C" NOT NULL,
    api_version text NOT NULL,
    endpoint    text COLLATE "C" NOT NULL,
    state       text NOT NULL CHECK (state IN (
                    'due',                          -- to be sent at due_at
                    'delivered',                    -- answered 2xx
                    'dead',                         -- tries exhausted: a dead letter
                    'held')),                       -- its endpoint is disabled
    tries       int NOT NULL DEFAULT 0 CHECK (tries >= 0),
    due_at      timestamptz NOT NULL,
    lease_until timestamptz,
    generation  int NOT NULL DEFAULT 0,
    reason      text,                               -- why the last try failed, why it is dead or held
    created_at  timestamptz NOT NULL,
    finished_at timestamptz,
    PRIMARY KEY (owner_id, id),
    UNIQUE (owner_id, message, endpoint)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
CREATE INDEX delivery_due ON delivery (due_at, owner_id, id) WHERE state = 'due';

-- One HTTP try of a delivery (RULES §1 delivery attempt).
CREATE TABLE delivery_attempt (
    owner_id    text COLLATE "C" NOT NULL,
    delivery    text COLLATE "C" NOT NULL,
    number      int NOT NULL CHECK (number >= 1),   -- of the lease under which it was made; ascends, may have gaps
    started_at  timestamptz NOT NULL,
    duration_ms int NOT NULL CHECK (duration_ms >= 0),
    status      int,                                -- null: no answer
    reason      text,
    answer      bytea,                              -- at most 16 KiB of what the receiver said
    PRIMARY KEY (owner_id, delivery, number)
);

-- The simulated 3DS server's memory: it stands for the bank's side, so only test mode writes here.
CREATE TABLE simulated_authentication (
    account_id text COLLATE "C" NOT NULL,
    reference  text COLLATE "C" NOT NULL,
    charge     text COLLATE "C" NOT NULL,
    state      text NOT NULL CHECK (state IN ('pending', 'succeeded', 'failed', 'canceled')),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, reference)
);

-- Of a table without statistics PostgreSQL believes that a row's owner says as much as its id. Since every index begins with
-- the owner, it may then walk all rows of an account to find one, and a plan that was made on the empty table stays until
-- autovacuum comes by. So the tables are shown once what they will look like: some rows of one account, ended as nearly all
-- rows are; then they are emptied, and the statistics remain. In this transaction nobody else can have written to them.
INSERT INTO idempotency_key (owner_id, mode, key, fingerprint, state, status, body, generation, lease_until, created_at)
SELECT 'acct', 'test', 'key_' || n, '', 'done', 200, '', 1, t, t
  FROM generate_series(1, 300) AS n, (VALUES (timestamptz '2026-01-01T00:00:00Z')) AS at(t);
INSERT INTO payment_method (account_id, livemode, id, card_reference, brand, first6, last4, exp_month, exp_year, fingerprint,
                            authentication_required, created_at)
SELECT 'acct', false, 'pm_' || n, 'card', 'visa', '424242', '4242', 12, 2030, 'f' || n, false, t
  FROM generate_series(1, 300) AS n, (VALUES (timestamptz '2026-01-01T00:00:00Z')) AS at(t);
INSERT INTO payment_intent (account_id, livemode, id, version, status, amount, currency, capture_method, payment_method,
                            latest_charge, checkout_session, client_secret, created_at)
SELECT 'acct', false, 'pi_' || n, 2, 'succeeded', n, 'EUR', 'automatic', 'pm_' || n, 'ch_' || n, 'cs_' || n, 's' || n, t
  FROM generate_series(1, 300) AS n, (VALUES (timestamptz '2026-01-01T00:00:00Z')) AS at(t);
INSERT INTO checkout_session (account_id, livemode, id, version, status, payment_status, payment_intent, amount_total,
                              currency, line_items, ui_mode, expires_at, created_at)
SELECT 'acct', false, 'cs_' || n, 1, 'complete', 'paid', 'pi_' || n, n, 'EUR', '[]', 'hosted_page', t, t
  FROM generate_series(1, 300) AS n, (VALUES (timestamptz '2026-01-01T00:00:00Z')) AS at(t);
INSERT INTO charge (account_id, livemode, id, version, payment_intent, payment_method, state, amount, currency,
                    capture_method, acquirer_key, created_at)
SELECT 'acct', false, 'ch_' || n, 1, 'pi_' || n, 'pm_' || n, 'approved', n, 'EUR', 'automatic', 'ch_' || n, t
  FROM generate_series(1, 300) AS n, (VALUES (timestamptz '2026-01-01T00:00:00Z')) AS at(t);
INSERT INTO acquirer_request (account_id, livemode, id, charge, payment_intent, kind, state, amount, created_at)
SELECT 'acct', false, 'acr_' || n, 'ch_' || n, 'pi_' || n, 'capture', 'done', n, t
  FROM generate_series(1, 300) AS n, (VALUES (timestamptz '2026-01-01T00:00:00Z')) AS at(t);
INSERT INTO ledger_transaction (account_id, livemode, id, kind, reference, payment_intent, charge, currency, accounts, amounts,
                                effective_at, created_at)
SELECT 'acct', false, 'ltx_' || n, 'charge', 'charge:ch_' || n, 'pi_' || n, 'ch_' || n, 'EUR',
       '{acquirer_receivable,merchant_pending}', ARRAY[n, -n], t, t
  FROM generate_series(1, 300) AS n, (VALUES (timestamptz '2026-01-01T00:00:00Z')) AS at(t);
INSERT INTO event (account_id, livemode, id, type, object_id, object, created_at)
SELECT 'acct', false, 'evt_' || n, 'charge.succeeded', 'ch_' || n, '{}', t
  FROM generate_series(1, 300) AS n, (VALUES (timestamptz '2026-01-01T00:00:00Z')) AS at(t);
INSERT INTO message (owner_id, id, api_version, body) SELECT 'acct', 'evt_' || n, 'v', '' FROM generate_series(1, 300) AS n;
INSERT INTO delivery (owner_id, id, livemode, message, api_version, endpoint, state, due_at, created_at, finished_at)
SELECT 'acct', 'dlv_' || n, false, 'evt_' || n, 'v', 'we', 'delivered', t, t, t
  FROM generate_series(1, 300) AS n, (VALUES (timestamptz '2026-01-01T00:00:00Z')) AS at(t);
INSERT INTO delivery_attempt (owner_id, delivery, number, started_at, duration_ms, status)
SELECT 'acct', 'dlv_' || n, 1, t, 1, 200
  FROM generate_series(1, 300) AS n, (VALUES (timestamptz '2026-01-01T00:00:00Z')) AS at(t);
ANALYZE idempotency_key, payment_method, payment_intent, checkout_session, charge, acquirer_request, ledger_transaction, event,
        message, delivery, delivery_attempt;
-- Within a savepoint TRUNCATE gives the tables new files, whose size is unknown; without one they would be known to be empty.
SAVEPOINT shown;
TRUNCATE idempotency_key, payment_method, payment_intent, checkout_session, charge, acquirer_request, ledger_transaction, event,
         message, delivery, delivery_attempt;
RELEASE SAVEPOINT shown;
