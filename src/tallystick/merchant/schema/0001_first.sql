-- The merchant's database: orders, attempts and what was learnt about them (RULES §4, §5, §7, §8).
--
-- Every primary key and unique constraint begins with merchant_id, so that the tables can be sharded by merchant. There are no
-- triggers, no sequences and no foreign keys across merchants. Identifiers and times are made by the application; identifiers
-- compare as bytes (COLLATE "C"), because their order in time is their order in ASCII. Amounts are minor units.

CREATE TABLE merchant (
    merchant_id     text COLLATE "C" PRIMARY KEY,
    name            text NOT NULL CHECK (name <> ''),
    -- Origins ("https://shop.example") that return_url and cancel_url of an order may point to (RULES §9).
    return_origins  text[] NOT NULL DEFAULT '{}',
    -- What is done with money that came late or twice: RULES §4, fulfilment.
    late_policy     text NOT NULL DEFAULT 'refund' CHECK (late_policy IN ('accept', 'accept_if_available', 'refund')),
    created_at      timestamptz NOT NULL
);

-- The directory of API keys: hash -> owner. It is read before the owner is known, so it is the one table whose key does not
-- begin with the owner. Only the SHA-256 of a key is kept; last4 lets people tell their keys apart.
CREATE TABLE api_key (
    key_hash        bytea PRIMARY KEY CHECK (length(key_hash) = 32),
    merchant_id     text COLLATE "C" NOT NULL,
    last4           text NOT NULL,
    created_at      timestamptz NOT NULL,
    revoked_at      timestamptz
);

-- One merchant's account at one gateway. Secrets are named, never stored: every *_ref is a reference such as env:NAME or file:/path.
CREATE TABLE connection (
    merchant_id         text COLLATE "C" NOT NULL,
    connection_id       text COLLATE "C" NOT NULL,
    gateway             text NOT NULL CHECK (gateway IN ('stripe')),
    url                 text NOT NULL,
    secret_key_ref      text NOT NULL CHECK (secret_key_ref ~ '^(env|file):.'),
    -- How the gateway signs its webhooks, and the secrets that are live now (two during a rotation): RULES §7.
    signature_scheme    text NOT NULL DEFAULT 'stripe' CHECK (signature_scheme IN ('stripe', 'standard')),
    webhook_secret_refs text[] NOT NULL CHECK (cardinality(webhook_secret_refs) BETWEEN 1 AND 4),
    created_at          timestamptz NOT NULL,
    disabled_at         timestamptz,
    PRIMARY KEY (merchant_id, connection_id)
);

-- Calls of the merchant's API that carried an Idempotency-Key: RULES §5. The same table serves both services.
CREATE TABLE idempotency_key (
    owner_id        text COLLATE "C" NOT NULL,
    mode            text NOT NULL CHECK (mode IN ('test', 'live')),
    key             text COLLATE "C" NOT NULL,
    fingerprint     bytea NOT NULL,
    state           text NOT NULL CHECK (state IN ('running', 'done')),
    -- What the holder recorded before it called outside: here the order's id.
    recovery        text,
    status          int,
    body            bytea,
    generation      int NOT NULL,
    lease_until     timestamptz NOT NULL,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (owner_id, mode, key),
    CHECK ((state = 'done') = (status IS NOT NULL AND body IS NOT NULL))
) WITH (fillfactor = 80);

-- Personal data stand apart from the first day on, so that they can have their own role, policy and encryption (RULES §12).
CREATE SCHEMA pii;

CREATE TABLE pii.customer (
    merchant_id     text COLLATE "C" NOT NULL,
    customer_id     text COLLATE "C" NOT NULL,
    email           text,
    name            text,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (merchant_id, customer_id)
);

-- An order. `facts` is everything learnt about it, merged (RULES §4); the columns after it are derived from `facts` in the same
-- update, for constraints, lists and counts. An order that was read, decided about and written back is guarded by `version`,
-- which is also the number of its newest timeline row.
--
-- A webhook's update touches no column of any index and finds room on its own page (fillfactor), so it writes no index entry.
CREATE TABLE orders (
    merchant_id             text COLLATE "C" NOT NULL,
    order_id                text COLLATE "C" NOT NULL,
    connection_id           text COLLATE "C" NOT NULL,
    customer_id             text COLLATE "C",
    reference               text,
    amount_minor            bigint NOT NULL CHECK (amount_minor BETWEEN 1 AND 999999999999),
    currency                text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    line_items              jsonb,
    metadata                jsonb NOT NULL DEFAULT '{}',
    return_url              text,
    cancel_url              text,
    ui_mode                 text NOT NULL CHECK (ui_mode IN ('hosted', 'embedded')),
    ttl_s                   integer NOT NULL CHECK (ttl_s BETWEEN 60 AND 86400),
    declines_max            integer NOT NULL CHECK (declines_max BETWEEN 1 AND 10),
    created_at              timestamptz NOT NULL,

    facts                   jsonb NOT NULL DEFAULT '{}',
    state                   text NOT NULL DEFAULT 'PENDING' CHECK (state IN ('PENDING', 'PAID', 'FAILED', 'EXPIRED', 'CANCELED')),
    fulfilment              text NOT NULL DEFAULT 'none' CHECK (fulfilment IN ('none', 'held', 'allowed', 'refused')),
    attention               text,
    late                    boolean NOT NULL DEFAULT false,
    overpaid                boolean NOT NULL DEFAULT false,
    -- The attempt whose payment is the order's, and the newest attempt whose end was stored: RULES §4, "late".
    keeper                  integer,
    released                integer,
    attempt_newest          integer NOT NULL DEFAULT 0 CHECK (attempt_newest >= 0),
    amount_captured_minor   bigint NOT NULL DEFAULT 0 CHECK (amount_captured_minor >= 0),
    amount_refunded_minor   bigint NOT NULL DEFAULT 0 CHECK (amount_refunded_minor >= 0),
    -- When the newest attempt's time to live ends; what the shop is told.
    expires_at              timestamptz NOT NULL,
    -- When an order without any attempt must be looked at; an order with attempts is looked at through them.
    due_at                  timestamptz,
    version                 bigint NOT NULL DEFAULT 0 CHECK (version >= 0),
    updated_at              timestamptz NOT NULL,
    PRIMARY KEY (merchant_id, order_id),
    CONSTRAINT orders_paid_has_keeper CHECK ((state = 'PAID') = (keeper IS NOT NULL)),
    CONSTRAINT orders_fulfilment_when_paid CHECK ((state = 'PAID') = (fulfilment <> 'none'))
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

CREATE INDEX orders_due ON orders (due_at, merchant_id, order_id) WHERE due_at IS NOT NULL;

-- One try to pay an order: what the gateway knows it by, and what the service must still do about it.
--
-- `state` and the ids repeat what the order's facts say, for the constraints below. `due_at` is the one time at which the
-- attempt must be looked at again (close request, later polls and expiry); null when nothing remains to be done.
CREATE TABLE attempt (
    merchant_id             text COLLATE "C" NOT NULL,
    order_id                text COLLATE "C" NOT NULL,
    number                  integer NOT NULL CHECK (number >= 1),
    connection_id           text COLLATE "C" NOT NULL,
    state                   text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'authorised', 'closed', 'succeeded')),
    -- The call that opens the session, stored before it is made: its key, its request to the byte (until the session is
    -- known), and the expires_at sent with it: RULES §8.
    open_key                text NOT NULL,
    open_request            bytea,
    gateway_expires_at      timestamptz NOT NULL,
    checkout_session        text,
    payment_intent          text,
    redirect_url            text,
    client_secret           text,
    -- Our own decision to close (RULES §4) and its number n, which makes the key close:{order}:{attempt}:{n} (RULES §5).
    close_reason            text CHECK (close_reason IN ('expired', 'declined_out', 'canceled')),
    close_number            integer NOT NULL DEFAULT 0 CHECK (close_number >= 0),
    close_requested_at      timestamptz,
    due_at                  timestamptz,
    lease_until             timestamptz,
    generation              integer NOT NULL DEFAULT 0,
    tries                   integer NOT NULL DEFAULT 0,
    created_at              timestamptz NOT NULL,
    PRIMARY KEY (merchant_id, order_id, number),
    FOREIGN KEY (merchant_id, order_id) REFERENCES orders (merchant_id, order_id),
    CONSTRAINT attempt_close_has_number CHECK ((close_reason IS NULL) = (close_number = 0))
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

-- Double submits, tabs and refreshes cannot open two attempts: RULES §4.
CREATE UNIQUE INDEX attempt_one_live ON attempt (merchant_id, order_id) WHERE state IN ('open', 'authorised');

-- Refunds and disputes name the payment and not our reference.
CREATE UNIQUE INDEX attempt_payment_intent ON attempt (merchant_id, connection_id, payment_intent) WHERE payment_intent IS NOT NULL;

CREATE INDEX attempt_due ON attempt (due_at, merchant_id, order_id, number) WHERE due_at IS NOT NULL;

-- Append-only: every change of an order, one row each. "Explain this payment" prints it. `number` counts within the order.
CREATE TABLE timeline (
    merchant_id     text COLLATE "C" NOT NULL,
    order_id        text COLLATE "C" NOT NULL,
    number          bigint NOT NULL CHECK (number >= 1),
    at              timestamptz NOT NULL,
    -- Who told: the merchant itself, or one of the six sources of facts (RULES §4).
    source          text NOT NULL CHECK (source IN ('merchant', 'api', 'webhook', 'return', 'poll', 'expiry', 'settlement')),
    attempt         integer NOT NULL,
    fact            jsonb NOT NULL,
    state_before    text NOT NULL,
    state_after     text NOT NULL,
    -- What the source calls it: an event id, a request id, a settlement line.
    reference       text,
    PRIMARY KEY (merchant_id, order_id, number)
);

-- Every webhook that was verified, as the bytes that came; its id makes duplicates harmless (RULES §7).
--
-- Written once on the way to the 200. Only what could not be applied has a due_at, so that the index of due rows stays small.
-- Bodies up to 8 KB stay in the row uncompressed: compressing them costs more than reading them ever will.
CREATE TABLE inbox (
    merchant_id     text COLLATE "C" NOT NULL,
    connection_id   text COLLATE "C" NOT NULL,
    event_id        text COLLATE "C" NOT NULL,
    type            text NOT NULL,
    order_id        text COLLATE "C",
    state           text NOT NULL CHECK (state IN ('applied', 'parked', 'failed', 'ignored')),
    error           text,
    tries           integer NOT NULL DEFAULT 0,
    due_at          timestamptz,
    lease_until     timestamptz,
    generation      integer NOT NULL DEFAULT 0,
    received_at     timestamptz NOT NULL,
    raw             bytea NOT NULL,
    PRIMARY KEY (merchant_id, connection_id, event_id),
    CONSTRAINT inbox_failed_has_error CHECK ((state = 'failed') = (error IS NOT NULL))
) WITH (toast_tuple_target = 8160);

CREATE INDEX inbox_due ON inbox (due_at, merchant_id, connection_id, event_id) WHERE due_at IS NOT NULL;
