-- Payments that a file told of before their order was stored PAID: around midnight, or because no webhook told. The file of the day on
-- which they count as paid must not tell of them again (RULES §11, settled_twice), and what fits at the first look is not looked at.
CREATE TABLE settled_early (
    merchant_id     text COLLATE "C" NOT NULL,
    connection_id   text COLLATE "C" NOT NULL,
    payment         text COLLATE "C" NOT NULL,
    PRIMARY KEY (merchant_id, connection_id, payment)
);
