-- known_customers
-- Which of these customers there are.
SELECT c.account_id, c.livemode, c.id AS customer_id
  FROM customer c
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS wanted(account_id, livemode, id)
    ON (c.account_id, c.livemode, c.id) = (wanted.account_id, wanted.livemode, wanted.id)
 WHERE c.deleted_at IS NULL
 ORDER BY c.account_id, c.livemode, c.id;

-- insert_customers
-- New customers.
INSERT INTO customer (account_id, livemode, id, description, metadata, created_at)
SELECT n.account_id, n.livemode, n.id, n.description, n.metadata::jsonb, n.created_at
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
       AS n(account_id, livemode, id, description, metadata, created_at);

-- lock_customers
-- Load customers for a change, and keep them from every other one.
SELECT c.account_id, c.livemode, c.id, c.created_at, c.description, c.metadata
  FROM customer c
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS wanted(account_id, livemode, id)
    ON (c.account_id, c.livemode, c.id) = (wanted.account_id, wanted.livemode, wanted.id)
 WHERE c.deleted_at IS NULL
 ORDER BY c.account_id, c.livemode, c.id
   FOR UPDATE OF c;

-- save_customers
-- Save changed customers.
UPDATE customer c
   SET description = n.description, metadata = n.metadata::jsonb
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::text[], $5::text[])
       AS n(account_id, livemode, id, description, metadata)
 WHERE (c.account_id, c.livemode, c.id) = (n.account_id, n.livemode, n.id);

-- delete_customers
-- Customers that are deleted; the row stays, because payments name it.
UPDATE customer c
   SET deleted_at = $4::timestamptz, description = NULL, metadata = '{}'
  FROM unnest($1::text[], $2::boolean[], $3::text[]) AS n(account_id, livemode, id)
 WHERE (c.account_id, c.livemode, c.id) = (n.account_id, n.livemode, n.id);

-- methods_of_customers
-- The cards that customers have saved, or would have.
SELECT m.account_id, m.livemode, m.id
  FROM payment_method m
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS wanted(account_id, livemode, customer)
    ON (m.account_id, m.livemode, m.customer) = (wanted.account_id, wanted.livemode, wanted.customer)
 ORDER BY m.account_id, m.livemode, m.id;

-- lock_methods
-- Keep cards from every other change of whose they are.
SELECT m.id
  FROM payment_method m
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS wanted(account_id, livemode, id)
    ON (m.account_id, m.livemode, m.id) = (wanted.account_id, wanted.livemode, wanted.id)
 ORDER BY m.account_id, m.livemode, m.id
   FOR UPDATE OF m;

-- attach_named
-- Cards that a merchant saves for a customer.
UPDATE payment_method m
   SET customer = n.customer, attached_at = n.attached_at
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::text[], $5::timestamptz[])
       AS n(account_id, livemode, id, customer, attached_at)
 WHERE (m.account_id, m.livemode, m.id) = (n.account_id, n.livemode, n.id);

-- give_up_methods
-- Cards that are nobody's any more and can be charged no more.
UPDATE payment_method m
   SET customer = NULL, attached_at = NULL, single_use = true
  FROM unnest($1::text[], $2::boolean[], $3::text[]) AS n(account_id, livemode, id)
 WHERE (m.account_id, m.livemode, m.id) = (n.account_id, n.livemode, n.id);

-- find_customers
-- Customers by id, for retrieving and expanding.
SELECT c.account_id, c.livemode, c.id, c.created_at, c.description, c.metadata
  FROM customer c
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS wanted(account_id, livemode, id)
    ON (c.account_id, c.livemode, c.id) = (wanted.account_id, wanted.livemode, wanted.id)
 WHERE c.deleted_at IS NULL
 ORDER BY c.account_id, c.livemode, c.id;

-- page_of_customers
-- Ids of customers between two ids, created in a span of time, of some where these are named, newest first.
SELECT c.id
  FROM customer c
 WHERE c.account_id = $1::text AND c.livemode = $2::boolean AND c.id > $3::text AND c.id < $4::text
   AND c.created_at >= $5::timestamptz AND c.created_at < $6::timestamptz AND c.deleted_at IS NULL
   AND ($8::text[] IS NULL OR c.id = ANY ($8::text[]))
 ORDER BY c.account_id DESC, c.livemode DESC, c.id DESC
 LIMIT $7::int;

-- page_of_customers_backwards
-- The same, oldest first: the page that ends before an object.
SELECT c.id
  FROM customer c
 WHERE c.account_id = $1::text AND c.livemode = $2::boolean AND c.id > $3::text AND c.id < $4::text
   AND c.created_at >= $5::timestamptz AND c.created_at < $6::timestamptz AND c.deleted_at IS NULL
   AND ($8::text[] IS NULL OR c.id = ANY ($8::text[]))
 ORDER BY c.account_id, c.livemode, c.id
 LIMIT $7::int;

-- page_of_saved
-- Ids of the cards that a customer has saved, between two ids, newest first.
SELECT m.id
  FROM payment_method m
 WHERE m.account_id = $1::text AND m.livemode = $2::boolean AND m.customer = $8::text AND m.id > $3::text
   AND m.id < $4::text AND m.created_at >= $5::timestamptz AND m.created_at < $6::timestamptz
   AND m.attached_at IS NOT NULL
 ORDER BY m.account_id DESC, m.livemode DESC, m.id DESC
 LIMIT $7::int;

-- page_of_saved_backwards
-- The same, oldest first: the page that ends before an object.
SELECT m.id
  FROM payment_method m
 WHERE m.account_id = $1::text AND m.livemode = $2::boolean AND m.customer = $8::text AND m.id > $3::text
   AND m.id < $4::text AND m.created_at >= $5::timestamptz AND m.created_at < $6::timestamptz
   AND m.attached_at IS NOT NULL
 ORDER BY m.account_id, m.livemode, m.id
 LIMIT $7::int;
