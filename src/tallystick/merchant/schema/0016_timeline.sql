-- What is told of an order is found by the order, however many there are (RULES §13).
CREATE INDEX cases_of_order ON cases (merchant_id, order_id) WHERE order_id IS NOT NULL;
CREATE INDEX mismatch_of_order ON mismatch (merchant_id, order_id) WHERE order_id IS NOT NULL;

-- What operators did is found by the ids in the address that they called.
CREATE INDEX audit_entry_about ON audit_entry USING gin (string_to_array(subject, '/'));
CREATE INDEX audit_entry_of_delivery ON audit_entry ((asked ->> 'delivery')) WHERE asked ->> 'delivery' IS NOT NULL;
