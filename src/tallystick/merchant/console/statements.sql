-- merchants_shown
-- The merchants that a page can be about, in the order of their names.
SELECT m.merchant_id, m.name
  FROM merchant m
 WHERE m.merchant_id > ''
 ORDER BY m.name, m.merchant_id
 LIMIT $1::int;

-- newest_orders
-- A page of a merchant's orders, the newest first: those between two places that fit what else is asked for. So many are looked through
-- and no more; what they are looked through by is an index.
SELECT o.order_id, o.reference, o.customer_id, o.amount_minor, o.currency, o.state, o.fulfilment, o.attention, o.late, o.overpaid,
       o.amount_refunded_minor, o.created_at
  FROM (SELECT * FROM orders o
         WHERE o.merchant_id = $1::text AND o.order_id < $2::text AND o.order_id >= $3::text
         ORDER BY o.order_id DESC
         LIMIT $6::int) AS o
 WHERE ($4::text IS NULL OR o.state = $4::text) AND ($5::text IS NULL OR o.fulfilment = $5::text)
 ORDER BY o.order_id DESC
 LIMIT $7::int;

-- orders_by_reference
-- The same of the orders that the shop calls so.
SELECT o.order_id, o.reference, o.customer_id, o.amount_minor, o.currency, o.state, o.fulfilment, o.attention, o.late, o.overpaid,
       o.amount_refunded_minor, o.created_at
  FROM (SELECT * FROM orders o
         WHERE o.merchant_id = $1::text AND o.order_id < $2::text AND o.order_id >= $3::text AND o.reference = $8::text
         ORDER BY o.order_id DESC
         LIMIT $6::int) AS o
 WHERE ($4::text IS NULL OR o.state = $4::text) AND ($5::text IS NULL OR o.fulfilment = $5::text)
 ORDER BY o.order_id DESC
 LIMIT $7::int;

-- orders_by_amount
-- The same of the orders over an amount.
SELECT o.order_id, o.reference, o.customer_id, o.amount_minor, o.currency, o.state, o.fulfilment, o.attention, o.late, o.overpaid,
       o.amount_refunded_minor, o.created_at
  FROM (SELECT * FROM orders o
         WHERE o.merchant_id = $1::text AND o.order_id < $2::text AND o.order_id >= $3::text
           AND o.currency = $8::text AND o.amount_minor = $9::bigint
         ORDER BY o.order_id DESC
         LIMIT $6::int) AS o
 WHERE ($4::text IS NULL OR o.state = $4::text) AND ($5::text IS NULL OR o.fulfilment = $5::text)
 ORDER BY o.order_id DESC
 LIMIT $7::int;

-- orders_of_customer
-- The same of the orders of a customer.
SELECT o.order_id, o.reference, o.customer_id, o.amount_minor, o.currency, o.state, o.fulfilment, o.attention, o.late, o.overpaid,
       o.amount_refunded_minor, o.created_at
  FROM (SELECT * FROM orders o
         WHERE o.merchant_id = $1::text AND o.order_id < $2::text AND o.order_id >= $3::text AND o.customer_id = $8::text
         ORDER BY o.order_id DESC
         LIMIT $6::int) AS o
 WHERE ($4::text IS NULL OR o.state = $4::text) AND ($5::text IS NULL OR o.fulfilment = $5::text)
 ORDER BY o.order_id DESC
 LIMIT $7::int;

-- orders_with_attention
-- The same of the orders that a person must look at.
SELECT o.order_id, o.reference, o.customer_id, o.amount_minor, o.currency, o.state, o.fulfilment, o.attention, o.late, o.overpaid,
       o.amount_refunded_minor, o.created_at
  FROM (SELECT * FROM orders o
         WHERE o.merchant_id = $1::text AND o.order_id < $2::text AND o.order_id >= $3::text AND o.attention IS NOT NULL
         ORDER BY o.order_id DESC
         LIMIT $6::int) AS o
 WHERE ($4::text IS NULL OR o.state = $4::text) AND ($5::text IS NULL OR o.fulfilment = $5::text)
 ORDER BY o.order_id DESC
 LIMIT $7::int;

-- looked_through_to
-- The last of so many orders between two places, the newest first: behind it a list goes on that has found less than a page. No row
-- where there are not so many.
SELECT o.order_id
  FROM orders o
 WHERE o.merchant_id = $1::text AND o.order_id < $2::text AND o.order_id >= $3::text
 ORDER BY o.order_id DESC
OFFSET $4::int LIMIT 1;

-- cases_of_order
-- The cases about an order, the newest first.
SELECT c.case_id, c.kind, c.state, c.opened_at
  FROM cases c
 WHERE c.merchant_id = $1::text AND c.order_id = $2::text
 ORDER BY c.case_id DESC
 LIMIT $3::int;
