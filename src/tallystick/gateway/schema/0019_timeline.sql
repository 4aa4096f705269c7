-- What is told of a payment is found by the payment, however many there are (RULES §13).
CREATE INDEX cases_of_intent ON cases (account_id, livemode, payment_intent, id);
CREATE INDEX outcome_resolution_of_object ON outcome_resolution (account_id, livemode, object, id);

-- What operators did is found by the ids in the address that they called.
CREATE INDEX audit_entry_about ON audit_entry USING gin (string_to_array(subject, '/'));
CREATE INDEX audit_entry_of_delivery ON audit_entry ((asked ->> 'delivery')) WHERE asked ->> 'delivery' IS NOT NULL;
