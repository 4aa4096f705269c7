-- Card testing: tries to pay and declines by the hour, of a card and of an address at one account.
CREATE TABLE payment_tries (
    account_id text COLLATE "C" NOT NULL,
    livemode   boolean NOT NULL,
    subject    text COLLATE "C" NOT NULL,           -- "card " and its keyed fingerprint, "address " and the address
    window_at  timestamptz NOT NULL,                -- the hour
    tries      int NOT NULL CHECK (tries >= 0),
    declines   int NOT NULL CHECK (declines >= 0),
    PRIMARY KEY (account_id, livemode, subject, window_at)
) WITH (fillfactor = 70);
CREATE INDEX payment_tries_old ON payment_tries (window_at);
