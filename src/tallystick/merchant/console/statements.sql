-- merchants_shown
-- The merchants that a page can be about, in the order of their names.
SELECT m.merchant_id, m.name
  FROM merchant m
 WHERE m.merchant_id > ''
 ORDER BY m.name, m.merchant_id
 LIMIT $1::int;

-- orders_shown
-- A page of a merchant's orders, the newest first: those between two places that fit what is asked for. So many are looked through and no
-- more, by the index of one thing that is asked for, which $4 names; the last of them is given too, whether it fits or not, because
-- behind it a list goes on that has found less than a page.
-- One plan serves for whatever is asked (plan_cache_mode), and none goes by an index for `$5 IS NULL OR o.reference = $5`. So each index has
-- a branch of its own, and all but the one that is named end before they begin.
SELECT o.order_id, o.reference, o.customer_id, o.amount_minor, o.currency, o.state, o.fulfilment, o.attention, o.late, o.overpaid,
       o.amount_refunded_minor, o.created_at, o.place, o.fits
  FROM (SELECT o.order_id, o.reference, o.customer_id, o.amount_minor, o.currency, o.state, o.fulfilment, o.attention, o.late, o.overpaid,
               o.amount_refunded_minor, o.created_at, row_number() OVER (ORDER BY o.order_id DESC) AS place,
               ($5::text IS NULL OR o.reference = $5::text)
               AND ($6::text IS NULL OR o.currency = $6::text AND o.amount_minor = $7::bigint)
               AND ($8::text IS NULL OR o.customer_id = $8::text)
               AND (NOT $9::boolean OR o.attention IS NOT NULL)
               AND ($10::text IS NULL OR o.state = $10::text) AND ($11::text IS NULL OR o.fulfilment = $11::text) AS fits
          FROM ((SELECT * FROM orders o
                 WHERE $4::text = 'reference' AND o.merchant_id = $1::text AND o.order_id < $2::text AND o.order_id >= $3::text
                   AND o.reference = $5::text
                 ORDER BY o.order_id DESC LIMIT $12::int)
                UNION ALL
                (SELECT * FROM orders o
                 WHERE $4::text = 'amount' AND o.merchant_id = $1::text AND o.order_id < $2::text AND o.order_id >= $3::text
                   AND o.currency = $6::text AND o.amount_minor = $7::bigint
                 ORDER BY o.order_id DESC LIMIT $12::int)
                UNION ALL
                (SELECT * FROM orders o
                 WHERE $4::text = 'customer' AND o.merchant_id = $1::text AND o.order_id < $2::text AND o.order_id >= $3::text
                   AND o.customer_id = $8::text
                 ORDER BY o.order_id DESC LIMIT $12::int)
                UNION ALL
                (SELECT * FROM orders o
                 WHERE $4::text = 'attention' AND o.merchant_id = $1::text AND o.order_id < $2::text AND o.order_id >= $3::text
                   AND o.attention IS NOT NULL
                 ORDER BY o.order_id DESC LIMIT $12::int)
                UNION ALL
                (SELECT * FROM orders o
                 WHERE $4::text = 'order_id' AND o.merchant_id = $1::text AND o.order_id < $2::text AND o.order_id >= $3::text
                 ORDER BY o.order_id DESC LIMIT $12::int)) AS o) AS o
 WHERE o.fits OR o.place = $12::int
 ORDER BY o.order_id DESC
 LIMIT $13::int;

-- cases_of_order
-- The cases about an order, the newest first.
SELECT c.case_id, c.kind, c.state, c.opened_at
  FROM cases c
 WHERE c.merchant_id = $1::text AND c.order_id = $2::text
 ORDER BY c.case_id DESC
 LIMIT $3::int;
