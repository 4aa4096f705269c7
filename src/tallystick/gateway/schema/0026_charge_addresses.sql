-- From which address the charges of pages were tried: the bank may say no long after whoever typed the card has gone, and then
-- it counts for that address all the same. As long as tries count, three hours at most.
CREATE TABLE charge_address (
    account_id text COLLATE "C" NOT NULL,
    livemode   boolean NOT NULL,
    charge     text COLLATE "C" NOT NULL,
    subject    text COLLATE "C" NOT NULL,           -- as in payment_tries
    window_at  timestamptz NOT NULL,                -- the hour of the try
    PRIMARY KEY (account_id, livemode, charge)
);
CREATE INDEX charge_address_old ON charge_address (window_at);
