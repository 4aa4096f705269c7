-- Cards that must be used once more: the number stands in the vault alone, in a schema of its own so that a role of its
-- own can hold it. Deleting the row shreds the card: data key and ciphertext go together.
CREATE SCHEMA vault;

CREATE TABLE vault.card (
    account_id     text COLLATE "C" NOT NULL,
    livemode       boolean NOT NULL,
    token          text COLLATE "C" NOT NULL CHECK (token ~ '^vt_[0-9A-Za-z]{24}$'), -- over 128 random bits, never of the number
    sealed         bytea NOT NULL CHECK (octet_length(sealed) BETWEEN 41 AND 47),      -- nonce, ciphertext, tag
    data_key       text NOT NULL CHECK (data_key ~ '^[a-z][a-z0-9]*:v[1-9][0-9]*:'),   -- wrapped by the key-encryption key
    key_version    int NOT NULL CHECK (key_version > 0),   -- of the key-encryption key, as data_key says
    payment_intent text COLLATE "C" NOT NULL,              -- for which the number was typed
    created_at     timestamptz NOT NULL,
    due_at         timestamptz NOT NULL,                   -- when to look whether it is still needed
    PRIMARY KEY (account_id, livemode, token)
);
CREATE INDEX card_due ON vault.card (due_at, account_id, token);
CREATE INDEX card_key_version ON vault.card (key_version);

-- Customers of merchants: who may come back. What tells who they are stands apart, in a schema of its own.
CREATE SCHEMA pii;

CREATE TABLE customer (
    account_id  text COLLATE "C" NOT NULL,
    livemode    boolean NOT NULL,
    id          text COLLATE "C" NOT NULL,
    description text,
    metadata    jsonb NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL,
    deleted_at  timestamptz,
    PRIMARY KEY (account_id, livemode, id)
);

CREATE TABLE pii.customer_detail (
    account_id text COLLATE "C" NOT NULL,
    livemode   boolean NOT NULL,
    customer   text COLLATE "C" NOT NULL,
    email      text,
    name       text,
    phone      text,
    PRIMARY KEY (account_id, livemode, customer)
);
CREATE INDEX customer_detail_email ON pii.customer_detail (account_id, livemode, email) WHERE email IS NOT NULL;

ALTER TABLE payment_intent
    ADD COLUMN customer           text COLLATE "C",
    ADD COLUMN setup_future_usage text CHECK (setup_future_usage IN ('on_session', 'off_session'));

ALTER TABLE checkout_session
    ADD COLUMN customer   text COLLATE "C",
    ADD COLUMN saves_card boolean NOT NULL DEFAULT false;  -- the page asks the shopper whether to save it

ALTER TABLE payment_method
    ADD COLUMN customer    text COLLATE "C",               -- whose it is, or will be once a payment with it succeeds
    ADD COLUMN attached_at timestamptz,                    -- since when it is
    ADD COLUMN vault_token text COLLATE "C",               -- where its number stands, if it was typed and kept
    ADD COLUMN single_use  boolean NOT NULL DEFAULT false, -- its number is kept nowhere, or no longer
    ADD CONSTRAINT payment_method_attached CHECK (attached_at IS NULL OR customer IS NOT NULL);
CREATE INDEX payment_method_customer ON payment_method (account_id, livemode, customer, id) WHERE customer IS NOT NULL;
CREATE INDEX payment_method_vault ON payment_method (account_id, livemode, vault_token) WHERE vault_token IS NOT NULL;
