-- Who is stored, or was recognised, for an order that may never be written (RULES §12). The person and the order are two commits,
-- because they may stand under two roles. Both roles reach this table, which knows ids alone: whoever writes the order changes the row
-- in the commit of the order, whoever erases the person takes it away in the commit that erases, so that the later one sees the other.
-- The row goes when the order is seen to be there. People of before have no row: of them it is not known whether they ever had an order.
CREATE TABLE newcomer (
    merchant_id  text COLLATE "C" NOT NULL,
    customer_id  text COLLATE "C" NOT NULL,
    due_at       timestamptz NOT NULL,          -- when it is looked whether an order names them
    PRIMARY KEY (merchant_id, customer_id)
);
CREATE INDEX newcomer_due ON newcomer (due_at, merchant_id, customer_id);
