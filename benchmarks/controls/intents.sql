-- The tables of the intents control: the same shape as the gateway's own, without what creating an intent does not use.

CREATE TABLE account_key (
    key_hash    bytea PRIMARY KEY,
    account_id  text NOT NULL,
    livemode    boolean NOT NULL
);

CREATE TABLE idempotency_key (
    owner_id    text NOT NULL,
    mode        text NOT NULL,
    key         text NOT NULL,
    fingerprint bytea NOT NULL,
    state       text NOT NULL,
    status      int,
    body        bytea,
    generation  int NOT NULL DEFAULT 1,
    lease_until timestamptz NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (owner_id, mode, key)
) WITH (fillfactor = 80);

CREATE TABLE payment_intent (
    account_id      text NOT NULL,
    livemode        boolean NOT NULL,
    id              text NOT NULL,
    version         int NOT NULL DEFAULT 1,
    status          text NOT NULL,
    amount          bigint NOT NULL CHECK (amount BETWEEN 1 AND 999999999999),
    currency        text NOT NULL,
    capture_method  text NOT NULL,
    client_secret   text NOT NULL,
    metadata        jsonb NOT NULL,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (account_id, livemode, id)
) WITH (fillfactor = 80);

CREATE TABLE event (
    account_id      text NOT NULL,
    livemode        boolean NOT NULL,
    id              text NOT NULL,
    type            text NOT NULL,
    object_id       text NOT NULL,
    object          text NOT NULL,
    request_id      text,
    idempotency_key text,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (account_id, livemode, id)
);

CREATE TABLE webhook_endpoint (
    account_id      text NOT NULL,
    livemode        boolean NOT NULL,
    id              text NOT NULL,
    enabled_events  text[] NOT NULL,
    status          text NOT NULL,
    PRIMARY KEY (account_id, livemode, id)
);

CREATE TABLE delivery (
    owner_id    text NOT NULL,
    id          text NOT NULL,
    message     text NOT NULL,
    endpoint    text NOT NULL,
    state       text NOT NULL,
    due_at      timestamptz NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (owner_id, id)
);
