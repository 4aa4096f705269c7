-- What operators look for, found by an index whatever is stored (RULES §13). All columns here are written once, with the order: an
-- index on what changes, such as the state, would cost every webhook.

-- What a customer might say: the number on the confirmation, or how much it was.
CREATE INDEX orders_by_reference ON orders (merchant_id, reference, order_id) WHERE reference IS NOT NULL;
CREATE INDEX orders_by_amount ON orders (merchant_id, currency, amount_minor, order_id);
CREATE INDEX orders_of_customer ON orders (merchant_id, customer_id, order_id) WHERE customer_id IS NOT NULL;

-- Orders that a person must look at: few of many, and hardly ever any.
CREATE INDEX orders_with_attention ON orders (merchant_id, order_id) WHERE attention IS NOT NULL;
