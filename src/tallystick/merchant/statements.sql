-- ready
-- Whether the database answers and has been migrated; the merchant asked for need not exist.
SELECT m.merchant_id FROM merchant m WHERE m.merchant_id = $1::text;
